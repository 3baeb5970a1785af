-- Queues of which nothing is to be taken now, and how long messages have waited.
--   since    when the order was given; of a message: when it came to wait in its queue, null for what is older than this column
--   by_whom  for people
CREATE TABLE pauses (
  queue INTEGER PRIMARY KEY,
  since REAL NOT NULL,
  reason TEXT NOT NULL,
  by_whom TEXT NOT NULL
) STRICT;
ALTER TABLE messages ADD COLUMN since REAL;
