-- What is kept of workflows. bytes: the length of the record. The counter of all bytes is kept by the two triggers.
CREATE TABLE workflows (
  id INTEGER PRIMARY KEY,
  workflow_id TEXT NOT NULL UNIQUE,
  ends_at REAL NOT NULL,
  bytes INTEGER NOT NULL,
  record BLOB NOT NULL
) STRICT;
CREATE INDEX workflows_by_end ON workflows (ends_at, id);
INSERT INTO counters VALUES ('workflow bytes', 0);
CREATE TRIGGER workflows_in AFTER INSERT ON workflows BEGIN
  UPDATE counters SET value = value + new.bytes WHERE name = 'workflow bytes';
END;
CREATE TRIGGER workflows_out AFTER DELETE ON workflows BEGIN
  UPDATE counters SET value = value - old.bytes WHERE name = 'workflow bytes';
END;
