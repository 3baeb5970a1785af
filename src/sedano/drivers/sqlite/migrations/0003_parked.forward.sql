-- Calls whose task no worker knew, apart from the messages, which so cost what they did. In the order of their ids.
--   task  its name, by which it is asked for
--   due   until when somebody may come who knows it
CREATE TABLE parked (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue INTEGER NOT NULL,
  task TEXT NOT NULL,
  priority INTEGER NOT NULL,
  due REAL NOT NULL,
  raw BLOB NOT NULL
) STRICT;
CREATE INDEX parked_due ON parked (queue, due);
CREATE INDEX parked_tasks ON parked (queue, task, due);
