-- name: register
INSERT INTO owners (owner, node) VALUES (?1, ?2) RETURNING fence

-- name: renew
-- One beat more for each lease of the JSON list ?1 of [fence, owner] that is alive: (fence, owner).
UPDATE owners SET beats = beats + 1
WHERE ended = 0 AND EXISTS (
  SELECT 1 FROM json_each(?1) AS j
  WHERE json_extract(j.value, '$[0]') = owners.fence AND json_extract(j.value, '$[1]') = owners.owner
)
RETURNING fence, owner

-- name: leases
-- (owner, node, fence, beats, held)
SELECT o.owner, o.node, o.fence, o.beats, ifnull(h.held, 0) FROM owners AS o
LEFT JOIN (
  SELECT owner, count(*) AS held FROM messages INDEXED BY messages_held WHERE serial IS NOT NULL GROUP BY owner
) AS h ON h.owner = o.fence
ORDER BY o.owner

-- name: find
-- (fence, beats) of the owner named ?1.
SELECT fence, beats FROM owners WHERE owner = ?1

-- name: end
UPDATE owners SET ended = 1 WHERE fence = ?1

-- name: take
-- Up to ?3 deliveries of lease ?1 become those of lease ?2: (id, serial, state, queue's name, priority, raw), in any order.
UPDATE messages SET owner = ?2
WHERE id IN (
  SELECT id FROM messages INDEXED BY messages_held WHERE serial IS NOT NULL AND owner = ?1 ORDER BY serial, id LIMIT ?3
)
RETURNING id, serial, state, (SELECT name FROM queues WHERE queues.id = messages.queue), priority,
  (SELECT raw FROM bodies WHERE bodies.id = messages.id)

-- name: pendings
-- Up to ?2 pendings of lease ?1: (id, key, content).
SELECT id, key, content FROM pendings WHERE owner = ?1 ORDER BY id LIMIT ?2

-- name: give-pending
-- Lease ?1 gets pending ?2; the older one of the same attempt gives way.
UPDATE OR REPLACE pendings SET owner = ?1 WHERE id = ?2

-- name: has-something
SELECT EXISTS (SELECT 1 FROM messages INDEXED BY messages_held WHERE serial IS NOT NULL AND owner = ?1)
  OR EXISTS (SELECT 1 FROM pendings WHERE owner = ?1)

-- name: remove
DELETE FROM owners WHERE fence = ?1
