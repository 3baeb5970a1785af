-- Schedules. A space is an app's name; revision grows with each change of its entries that is no tick.
CREATE TABLE schedule_spaces (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL DEFAULT 0
) STRICT;

--   due       its next moment; null: it has none
--   revision  the space's when it was last put
--   runs      how many were written of it: the number of the last
CREATE TABLE schedules (
  id INTEGER PRIMARY KEY,
  space INTEGER NOT NULL,
  name TEXT NOT NULL,
  due REAL,
  revision INTEGER NOT NULL,
  runs INTEGER NOT NULL DEFAULT 0,
  state BLOB NOT NULL,
  definition BLOB NOT NULL,
  UNIQUE (space, name)
) STRICT;
CREATE INDEX schedules_due ON schedules (space, due, name) WHERE due IS NOT NULL;

-- What became of their moments, in the order of the ids. entry: the schedule's id; number counts from 1 without gaps, so that
-- those which are too many are found without a look at the others.
CREATE TABLE schedule_runs (
  id INTEGER PRIMARY KEY,
  space INTEGER NOT NULL,
  entry INTEGER NOT NULL,
  number INTEGER NOT NULL,
  due REAL NOT NULL,
  at REAL NOT NULL,
  task_id TEXT,
  reason TEXT NOT NULL,
  manual INTEGER NOT NULL,
  UNIQUE (entry, number)
) STRICT;
CREATE INDEX schedule_runs_by_space ON schedule_runs (space, id);
