-- The first schema. Conventions: times are wall seconds; names are interned to small integers; rows lie in the order of their
-- insertion and random ids are indexed beside them, because a table clustered by random ids costs more than half of the rate.

-- What the store counts: the revision of the revokes.
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO counters VALUES ('revokes', 0);

-- dead_bytes is the size of the queue's dead letters, kept by the two triggers below.
CREATE TABLE queues (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  dead_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE bindings (
  id INTEGER PRIMARY KEY,
  exchange TEXT NOT NULL,
  type TEXT NOT NULL,
  routing_key TEXT NOT NULL,
  queue INTEGER NOT NULL,
  UNIQUE (exchange, routing_key, queue, type)
) STRICT;

-- Leases. ended: taken over, the rest of what it held waits for the next page.
CREATE TABLE owners (
  fence INTEGER PRIMARY KEY AUTOINCREMENT,
  owner TEXT NOT NULL UNIQUE,
  node TEXT NOT NULL,
  beats INTEGER NOT NULL DEFAULT 0,
  ended INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Where each message stands: 0 ready, 1 reserved, 2 begun early, 3 begun late, 4 delayed. The small rows that change often
-- lie apart from the bytes, which are written once and deleted once.
--   priority  the step that serves it: 0, 3, 6 or 9
--   place     0 at the tail; negative for what was put to the head of its line, the smallest first. Then by id.
--   owner, serial  the fence of the lease that holds it, and the number of its reservation (see reserve.sql); else null
CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  state INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  place INTEGER NOT NULL DEFAULT 0,
  owner INTEGER,
  serial INTEGER,
  due REAL
) STRICT;
CREATE INDEX messages_ready ON messages (queue, priority, place, id) WHERE state = 0;
CREATE INDEX messages_held ON messages (serial, owner) WHERE serial IS NOT NULL;
CREATE INDEX messages_due ON messages (queue, due) WHERE state = 4;

CREATE TABLE bodies (id INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT;

-- What a settlement has left to do in another result store.
CREATE TABLE pendings (
  id INTEGER PRIMARY KEY,
  owner INTEGER NOT NULL,
  key TEXT NOT NULL,
  content BLOB NOT NULL,
  UNIQUE (owner, key)
) STRICT;

CREATE TABLE dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue INTEGER NOT NULL,
  cause TEXT NOT NULL,
  detail TEXT NOT NULL,
  task_id TEXT NOT NULL,
  task TEXT NOT NULL,
  died_at REAL NOT NULL,
  keep_s REAL NOT NULL,
  max_bytes INTEGER NOT NULL,
  ends_at REAL NOT NULL,
  raw BLOB NOT NULL
) STRICT;
CREATE INDEX dead_by_queue ON dead (queue, id);
CREATE INDEX dead_by_end ON dead (queue, ends_at);
CREATE TRIGGER dead_in AFTER INSERT ON dead BEGIN
  UPDATE queues SET dead_bytes = dead_bytes + length(new.raw) WHERE id = new.queue;
END;
CREATE TRIGGER dead_out AFTER DELETE ON dead BEGIN
  UPDATE queues SET dead_bytes = dead_bytes - length(old.raw) WHERE id = old.queue;
END;

CREATE TABLE results (
  id INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL UNIQUE,
  payload BLOB NOT NULL,
  ends_at REAL
) STRICT;
CREATE INDEX results_by_end ON results (ends_at) WHERE ends_at IS NOT NULL;

-- size null: not said yet. claimed: somebody publishes the body. done: the body was published; remembered until ends_at.
CREATE TABLE chords (
  id INTEGER PRIMARY KEY,
  group_id TEXT NOT NULL UNIQUE,
  size INTEGER,
  counted INTEGER NOT NULL DEFAULT 0,
  claimed INTEGER NOT NULL DEFAULT 0,
  done INTEGER NOT NULL DEFAULT 0,
  ends_at REAL NOT NULL
) STRICT;
CREATE TABLE chord_parts (
  id INTEGER PRIMARY KEY,
  chord INTEGER NOT NULL,
  group_index INTEGER NOT NULL,
  task_id TEXT NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE (chord, group_index, task_id)
) STRICT;

CREATE TABLE revokes (
  id INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL UNIQUE,
  terminate INTEGER NOT NULL,
  signal TEXT NOT NULL,
  ends_at REAL NOT NULL
) STRICT;

-- owner null: free; the row stays, because terms only grow.
CREATE TABLE locks (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  owner TEXT,
  term INTEGER NOT NULL,
  ends_at REAL NOT NULL
) STRICT;

-- Who waits for something in some process, and the socket where it is told ('' where it can only look by itself).
--   kind    work, results, mailbox (hears broadcasts of `exchange`), replies (hears answers to `name` of `exchange`)
--   idle    work only: since when it has been without work, as a number that grows; null while it has some or was woken
--   missed  results only: grows with each writing that could not be told: look at everything
CREATE TABLE listeners (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  exchange TEXT NOT NULL,
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  idle INTEGER,
  missed INTEGER NOT NULL DEFAULT 0,
  seen_at REAL NOT NULL
) STRICT;
CREATE INDEX listeners_idle ON listeners (idle) WHERE idle IS NOT NULL;
CREATE TABLE listener_queues (
  id INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  listener INTEGER NOT NULL,
  UNIQUE (queue, listener)
) STRICT;
CREATE INDEX listener_queues_by_listener ON listener_queues (listener);
CREATE TABLE watches (
  id INTEGER PRIMARY KEY,
  task_id TEXT NOT NULL,
  listener INTEGER NOT NULL,
  UNIQUE (task_id, listener)
) STRICT;
CREATE INDEX watches_by_listener ON watches (listener);
CREATE TABLE mail (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  listener INTEGER NOT NULL,
  posted_at REAL NOT NULL,
  raw BLOB NOT NULL
) STRICT;
CREATE INDEX mail_by_listener ON mail (listener);
CREATE TRIGGER listeners_out AFTER DELETE ON listeners BEGIN
  DELETE FROM listener_queues WHERE listener = old.id;
  DELETE FROM watches WHERE listener = old.id;
  DELETE FROM mail WHERE listener = old.id;
END;
