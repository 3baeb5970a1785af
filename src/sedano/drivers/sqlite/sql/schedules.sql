-- name: space
-- Of the space called ?1: (id, revision).
SELECT id, revision FROM schedule_spaces WHERE name = ?1

-- name: make-space
INSERT INTO schedule_spaces (name) VALUES (?1) RETURNING id, revision

-- name: set-revision
UPDATE schedule_spaces SET revision = ?2 WHERE id = ?1

-- name: put
-- In space ?1: ?2 name, ?3 definition, ?4 due, ?5 state (null: as it stands), ?6 revision.
INSERT INTO schedules (space, name, definition, due, state, revision) VALUES (?1, ?2, ?3, ?4, coalesce(?5, x''), ?6)
ON CONFLICT (space, name) DO UPDATE SET
  definition = excluded.definition, due = excluded.due, state = coalesce(?5, state), revision = excluded.revision
RETURNING id

-- name: put-new
-- As `put`, if there is none of that name; a row when it was written.
INSERT INTO schedules (space, name, definition, due, state, revision) VALUES (?1, ?2, ?3, ?4, coalesce(?5, x''), ?6)
ON CONFLICT (space, name) DO NOTHING RETURNING id

-- name: put-expected
-- As `put`, if its revision is ?7; a row when it was written.
UPDATE schedules SET definition = ?3, due = ?4, state = coalesce(?5, state), revision = ?6
WHERE space = ?1 AND name = ?2 AND revision = ?7 RETURNING id

-- name: remove
-- A row with its id when it was there; its runs go with `remove-runs`.
DELETE FROM schedules WHERE space = ?1 AND name = ?2 RETURNING id

-- name: remove-runs
DELETE FROM schedule_runs WHERE entry = ?1

-- name: entry
-- In the space called ?1: (name, definition, state, due, revision).
SELECT e.name, e.definition, e.state, e.due, e.revision FROM schedule_spaces AS s CROSS JOIN schedules AS e ON e.space = s.id
WHERE s.name = ?1 AND e.name = ?2

-- name: entries
-- As `entry`, the first ?3 after ?2 by name.
SELECT e.name, e.definition, e.state, e.due, e.revision FROM schedule_spaces AS s CROSS JOIN schedules AS e ON e.space = s.id
WHERE s.name = ?1 AND e.name > ?2 ORDER BY e.name LIMIT ?3

-- name: look
-- In every row, of one moment, the space's (revision, next due), then as `entry` the first ?3 that are due at ?2: nulls for none.
SELECT s.revision, (SELECT min(due) FROM schedules INDEXED BY schedules_due WHERE space = s.id AND due IS NOT NULL),
  e.name, e.definition, e.state, e.due, e.revision
FROM schedule_spaces AS s LEFT JOIN (
  SELECT name, definition, state, due, revision FROM schedules INDEXED BY schedules_due
  WHERE space = (SELECT id FROM schedule_spaces WHERE name = ?1) AND due <= ?2 ORDER BY due, name LIMIT ?3
) AS e
WHERE s.name = ?1 ORDER BY e.due, e.name

-- name: step
-- Of the entry ?2 in space ?1, if it stands at revision ?3 and due ?4: to due ?5 and state ?6, with ?7 more runs: (id, runs).
UPDATE schedules SET due = ?5, state = ?6, runs = runs + ?7
WHERE space = ?1 AND name = ?2 AND revision = ?3 AND due = ?4 RETURNING id, runs

-- name: count-run
-- One more run of the entry ?2 in space ?1: (id, runs).
UPDATE schedules SET runs = runs + 1 WHERE space = ?1 AND name = ?2 RETURNING id, runs

-- name: put-run
INSERT INTO schedule_runs (space, entry, number, due, at, task_id, reason, manual) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: drop-runs
-- Those of the entry ?1 up to number ?2.
DELETE FROM schedule_runs WHERE entry = ?1 AND number <= ?2

-- name: runs
-- The last ?3 of the entry ?2 in the space called ?1: (name, due, at, task_id, reason, manual).
SELECT e.name, r.due, r.at, r.task_id, r.reason, r.manual
FROM schedule_spaces AS s CROSS JOIN schedules AS e ON e.space = s.id CROSS JOIN schedule_runs AS r ON r.entry = e.id
WHERE s.name = ?1 AND e.name = ?2 ORDER BY r.number DESC LIMIT ?3

-- name: all-runs
-- As `runs`, the last ?2 of all entries.
SELECT e.name, r.due, r.at, r.task_id, r.reason, r.manual
FROM schedule_spaces AS s CROSS JOIN schedule_runs AS r INDEXED BY schedule_runs_by_space ON r.space = s.id
CROSS JOIN schedules AS e ON e.id = r.entry
WHERE s.name = ?1 ORDER BY r.id DESC LIMIT ?2
