-- name: lease
-- Nothing when lease (fence ?1, owner ?2) is not alive; else the revision of the revokes, and whether any queue is paused.
SELECT (SELECT value FROM counters WHERE name = 'revokes'), EXISTS (SELECT 1 FROM pauses)
FROM owners WHERE fence = ?1 AND owner = ?2 AND ended = 0

-- name: paused
-- (queue, its name) of those that are paused.
SELECT q.id, q.name FROM pauses AS p CROSS JOIN queues AS q ON q.id = p.queue

-- name: lease-and-work
-- As `lease`, and one of the queues in the JSON list of names ?3 that has something that may be taken, or null.
SELECT (SELECT value FROM counters WHERE name = 'revokes'), EXISTS (SELECT 1 FROM pauses), (
  SELECT queue FROM messages INDEXED BY messages_ready
  WHERE state = 0 AND queue IN (
    SELECT q.id FROM queues AS q
    WHERE q.name IN (SELECT value FROM json_each(?3)) AND q.id NOT IN (SELECT queue FROM pauses)
  ) LIMIT 1
)
FROM owners WHERE fence = ?1 AND owner = ?2 AND ended = 0

-- name: held
-- What lease ?2 holds of the messages in the JSON list ?1: (id, serial, state, queue, priority, place).
SELECT m.id, m.serial, m.state, m.queue, m.priority, m.place FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = j.value
WHERE m.owner = ?2

-- name: held-all
-- As `held`: everything that lease ?1 holds.
SELECT id, serial, state, queue, priority, place FROM messages INDEXED BY messages_held
WHERE serial IS NOT NULL AND owner = ?1

-- name: last-serial
-- A serial grows with each reserving among all that are held; its lowest bits are random, so that no message is ever given
-- out twice under one tag.
SELECT max(serial) FROM messages INDEXED BY messages_held WHERE serial IS NOT NULL

-- name: reserve
-- Give up to ?4 ready messages of queue ?3 to lease ?1 under serial ?2, in state ?5: (id, queue, priority, place, raw), in any
-- order.
UPDATE messages SET state = ?5, owner = ?1, serial = ?2
WHERE id IN (
  SELECT id FROM messages INDEXED BY messages_ready WHERE state = 0 AND queue = ?3 ORDER BY priority, place, id LIMIT ?4
)
RETURNING id, queue, priority, place, (SELECT raw FROM bodies WHERE bodies.id = messages.id)

-- name: reserve-listed
-- As `reserve`, the messages of the JSON list ?3, in state ?4.
UPDATE messages SET state = ?4, owner = ?1, serial = ?2
WHERE id IN (SELECT value FROM json_each(?3))
RETURNING id, queue, priority, place, (SELECT raw FROM bodies WHERE bodies.id = messages.id)

-- name: line
-- Up to ?2 ready messages of queue ?1: (priority, place, id).
SELECT priority, place, id FROM messages INDEXED BY messages_ready
WHERE state = 0 AND queue = ?1 ORDER BY priority, place, id LIMIT ?2

-- name: begin
-- The messages of the JSON list ?2 are begun; ?1 is 2 (early) or 3 (late); or only reserved, 1.
UPDATE messages SET state = ?1 WHERE id IN (SELECT value FROM json_each(?2))

-- name: delay
-- Message ?1 goes to the schedule, due at ?2.
UPDATE messages SET state = 4, due = ?2, place = 0, owner = NULL, serial = NULL, since = NULL WHERE id = ?1

-- name: keep-pending
INSERT INTO pendings (owner, key, content) VALUES (?1, ?2, ?3)
ON CONFLICT (owner, key) DO UPDATE SET content = excluded.content

-- name: drop-pending
DELETE FROM pendings WHERE owner = ?1 AND key = ?2

-- name: all-pendings
SELECT content FROM pendings WHERE owner = ?1 ORDER BY id

-- name: take-pending
-- A row when lease ?1 held pending ?2, which is gone then.
DELETE FROM pendings WHERE owner = ?1 AND key = ?2 RETURNING 1
