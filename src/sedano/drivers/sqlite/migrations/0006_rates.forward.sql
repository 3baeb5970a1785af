-- Rate limits of the whole cluster: when a call of a task may begin next.
--   free      from when on the next call may begin, Unix seconds
--   promised  up to when calls that came too early were told to come back
CREATE TABLE rates (
  name TEXT PRIMARY KEY,
  free REAL NOT NULL,
  promised REAL NOT NULL
) STRICT, WITHOUT ROWID;
