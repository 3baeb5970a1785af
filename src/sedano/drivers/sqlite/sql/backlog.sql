-- name: find-queue
SELECT id FROM queues WHERE name = ?1

-- name: make-queue
INSERT INTO queues (name) VALUES (?1) RETURNING id

-- name: queue-names
SELECT name FROM queues

-- name: bind
INSERT OR IGNORE INTO bindings (exchange, type, routing_key, queue) VALUES (?1, ?2, ?3, ?4)

-- name: bindings
-- Of exchange ?1: (type, routing_key, queue), in the order in which they were made.
SELECT type, routing_key, queue FROM bindings WHERE exchange = ?1 ORDER BY id

-- name: last-id
SELECT max(id) FROM messages

-- name: put
-- ?1 id, ?2 queue, ?3 state, ?4 priority, ?5 due, ?6 since.
INSERT INTO messages (id, queue, state, priority, due, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)

-- name: put-body
INSERT INTO bodies (id, raw) VALUES (?1, ?2)

-- name: body
SELECT raw FROM bodies WHERE id = ?1

-- name: drop
-- Delete the messages of the JSON list ?1; their bodies go with `drop-bodies`.
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?1))

-- name: drop-bodies
DELETE FROM bodies WHERE id IN (SELECT value FROM json_each(?1))

-- name: head
-- The smallest place of what is ready in queue ?1, step ?2; null when there is nothing.
SELECT min(place) FROM messages INDEXED BY messages_ready WHERE state = 0 AND queue = ?1 AND priority = ?2

-- name: put-first
-- Message ?1 is ready again, at place ?2; one that was delayed has waited since it was due.
UPDATE messages SET state = 0, place = ?2, owner = NULL, serial = NULL, since = coalesce(since, due), due = NULL WHERE id = ?1

-- name: ready
-- One of the queues in the JSON list ?1 that has something ready.
SELECT queue FROM messages INDEXED BY messages_ready
WHERE state = 0 AND queue IN (SELECT value FROM json_each(?1)) LIMIT 1

-- name: ready-named
-- As `ready`, for names, of those that are not paused.
SELECT queue FROM messages INDEXED BY messages_ready
WHERE state = 0 AND queue IN (
  SELECT q.id FROM queues AS q
  WHERE q.name IN (SELECT value FROM json_each(?1)) AND q.id NOT IN (SELECT queue FROM pauses)
) LIMIT 1

-- name: due
-- The earliest ?3 delayed calls of queue ?1 that are due at ?2: (due, id, queue, priority).
SELECT due, id, queue, priority FROM messages INDEXED BY messages_due
WHERE state = 4 AND queue = ?1 AND due <= ?2 ORDER BY due, id LIMIT ?3

-- name: delayed
-- The earliest ?2 delayed calls of queue ?1: (due, id, queue, priority).
SELECT due, id, queue, priority FROM messages INDEXED BY messages_due
WHERE state = 4 AND queue = ?1 ORDER BY due, id LIMIT ?2

-- name: next-due
-- When the first delayed or parked call of the queues in the JSON list of names ?1 is due, or null.
SELECT min(due) FROM (
  SELECT (SELECT min(due) FROM messages INDEXED BY messages_due WHERE state = 4 AND queue = q.id) AS due
  FROM json_each(?1) AS j CROSS JOIN queues AS q ON q.name = j.value
  UNION ALL
  SELECT (SELECT min(due) FROM parked INDEXED BY parked_due WHERE queue = q.id) AS due
  FROM json_each(?1) AS j CROSS JOIN queues AS q ON q.name = j.value
)

-- name: put-last
-- Message ?1 becomes ready at the tail, under the new id ?2, since ?3; its body follows with `move-body`.
UPDATE messages SET id = ?2, state = 0, place = 0, owner = NULL, serial = NULL, due = NULL, since = ?3 WHERE id = ?1

-- name: move-body
UPDATE bodies SET id = ?2 WHERE id = ?1

-- name: ready-page
-- The ids of up to ?3 ready messages of queue ?1 up to id ?2.
SELECT id FROM messages INDEXED BY messages_ready WHERE state = 0 AND queue = ?1 AND id <= ?2 LIMIT ?3

-- name: depth
-- For each name in the JSON list ?1, at ?2: (name, ready, delayed, reserved, begun, dead, parked, since, paused). The steps of the JSON
-- list ?3 are those whose heads are looked at.
SELECT j.value,
  (SELECT count(*) FROM messages INDEXED BY messages_ready WHERE state = 0 AND queue = q.id),
  (SELECT count(*) FROM messages INDEXED BY messages_due WHERE state = 4 AND queue = q.id),
  (SELECT count(*) FROM messages INDEXED BY messages_held WHERE serial IS NOT NULL AND queue = q.id AND state = 1),
  (SELECT count(*) FROM messages INDEXED BY messages_held WHERE serial IS NOT NULL AND queue = q.id AND state IN (2, 3)),
  (SELECT count(*) FROM dead INDEXED BY dead_by_end WHERE queue = q.id AND ends_at > ?2),
  (SELECT count(*) FROM parked INDEXED BY parked_due WHERE queue = q.id),
  (SELECT min((
    SELECT m.since FROM messages AS m INDEXED BY messages_ready
    WHERE m.state = 0 AND m.queue = q.id AND m.priority = s.value ORDER BY m.place, m.id LIMIT 1
  )) FROM json_each(?3) AS s),
  EXISTS (SELECT 1 FROM pauses WHERE queue = q.id)
FROM json_each(?1) AS j LEFT JOIN queues AS q ON q.name = j.value
ORDER BY j.key
