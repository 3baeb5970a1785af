-- name: any-idle
-- One row when some slot sleeps.
SELECT 1 FROM listeners INDEXED BY listeners_idle WHERE idle IS NOT NULL LIMIT 1

-- name: claim
-- Wake up to ?2 slots that wait for queue ?1, the longest idle first: they are not idle any more. None if it is paused.
-- (id, address)
UPDATE listeners SET idle = NULL
WHERE id IN (
  SELECT l.id FROM queues AS q
  JOIN listener_queues AS lq ON lq.queue = q.name
  JOIN listeners AS l ON l.id = lq.listener
  WHERE q.id = ?1 AND l.idle IS NOT NULL AND q.id NOT IN (SELECT queue FROM pauses)
  ORDER BY l.idle LIMIT ?2
)
RETURNING id, address

-- name: mark-idle
-- Listener ?1 has no work from now on. Its id, or nothing when it was struck off.
UPDATE listeners SET idle = (SELECT ifnull(max(idle), 0) + 1 FROM listeners) WHERE id = ?1 RETURNING id

-- name: unmark-idle
-- Listener ?1 is busy. Its id, or nothing when somebody has claimed it before.
UPDATE listeners SET idle = NULL WHERE id = ?1 AND idle IS NOT NULL RETURNING id

-- name: enlist
-- ?1 kind, ?2 exchange, ?3 name, ?4 address, ?5 now.
INSERT INTO listeners (kind, exchange, name, address, seen_at) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id

-- name: strike-off
-- Remove the listeners of the JSON list ?1 with everything that belongs to them.
DELETE FROM listeners WHERE id IN (SELECT value FROM json_each(?1))

-- name: strike-off-unseen
-- Remove listeners without an address that have not shown themselves since ?1.
DELETE FROM listeners WHERE address = '' AND seen_at < ?1

-- name: addresses
-- All who can be rung: (id, address).
SELECT id, address FROM listeners WHERE address <> ''

-- name: is-enlisted
-- The count of missed tellings of listener ?1 at address ?2; nothing when it was struck off.
SELECT missed FROM listeners WHERE id = ?1 AND address = ?2

-- name: seen
UPDATE listeners SET seen_at = ?2 WHERE id = ?1

-- name: forget-queues
DELETE FROM listener_queues WHERE listener = ?1

-- name: listen-to-queue
INSERT INTO listener_queues (listener, queue) VALUES (?1, ?2)

-- name: queues-with-work
-- Of the queues that the listeners of the JSON list ?1 wait for: those that have something ready and are not paused.
SELECT DISTINCT q.id FROM listener_queues AS lq JOIN queues AS q ON q.name = lq.queue
WHERE lq.listener IN (SELECT value FROM json_each(?1)) AND q.id NOT IN (SELECT queue FROM pauses)
  AND EXISTS (SELECT 1 FROM messages INDEXED BY messages_ready WHERE state = 0 AND queue = q.id)

-- name: watch
INSERT OR IGNORE INTO watches (task_id, listener) VALUES (?1, ?2)

-- name: unwatch
DELETE FROM watches WHERE task_id = ?1 AND listener = ?2

-- name: any-watch
SELECT 1 FROM watches LIMIT 1

-- name: watchers
-- Who watches one of the ids of the JSON list ?1: (id, address, task_id).
SELECT l.id, l.address, w.task_id FROM json_each(?1) AS j
CROSS JOIN watches AS w ON w.task_id = j.value
CROSS JOIN listeners AS l ON l.id = w.listener

-- name: missed
-- The listeners of the JSON list ?1 could not be told of something. (id, address)
UPDATE listeners SET missed = missed + 1 WHERE id IN (SELECT value FROM json_each(?1)) RETURNING id, address

-- name: post
-- Put ?1 into the box of every listener of kind ?2, exchange ?3 and name ?4 (null: any), at ?5. The ids of the listeners.
INSERT INTO mail (listener, posted_at, raw)
SELECT id, ?5, ?1 FROM listeners WHERE kind = ?2 AND exchange = ?3 AND name = ifnull(?4, name)
RETURNING listener

-- name: boxes
-- As `post`: (id, address).
SELECT id, address FROM listeners WHERE kind = ?1 AND exchange = ?2 AND name = ifnull(?3, name)

-- name: drop-old-mail
DELETE FROM mail WHERE posted_at < ?1

-- name: oldest-mail
-- When the mail that waits longest was posted: without a look at the rest.
SELECT posted_at FROM mail ORDER BY id LIMIT 1

-- name: has-mail
SELECT 1 FROM mail WHERE listener = ?1 LIMIT 1

-- name: take-mail
DELETE FROM mail WHERE listener = ?1 RETURNING id, raw

-- name: patterns
-- What is listened to among the events of exchange ?1: (name), a pattern of routing keys.
SELECT DISTINCT name FROM listeners WHERE kind = 'events' AND exchange = ?1

-- name: event-boxes
-- Who listens to events of exchange ?1: (id, address, name).
SELECT id, address, name FROM listeners WHERE kind = 'events' AND exchange = ?1

-- name: put
-- Into the box of listener ?1 at ?2: the message ?3.
INSERT INTO mail (listener, posted_at, raw) VALUES (?1, ?2, ?3)

-- name: span
-- The first and the last number in the box of listener ?1.
SELECT (SELECT min(id) FROM mail WHERE listener = ?1), (SELECT max(id) FROM mail WHERE listener = ?1)

-- name: drop-surplus
-- Leave the newest ?2 in the box of listener ?1.
DELETE FROM mail WHERE listener = ?1 AND id <= (
  SELECT id FROM mail WHERE listener = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
)
