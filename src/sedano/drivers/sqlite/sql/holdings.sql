-- name: held
-- Up to ?2 of what the owners in the JSON list ?1 hold, of the messages in the JSON list ?3 where that is not null; begun ones
-- first: (id, serial, state, queue's name, priority, raw).
SELECT m.id, m.serial, m.state, q.name, m.priority, b.raw
FROM messages AS m INDEXED BY messages_held JOIN queues AS q ON q.id = m.queue JOIN bodies AS b ON b.id = m.id
WHERE m.serial IS NOT NULL
  AND m.owner IN (SELECT fence FROM owners WHERE owner IN (SELECT value FROM json_each(?1)))
  AND (?3 IS NULL OR m.id IN (SELECT value FROM json_each(?3)))
ORDER BY m.state = 1, m.serial >> 16, m.place, m.id LIMIT ?2

-- name: delayed
-- The first ?2 of what is delayed in the queues of the JSON list ?1: (due, queue's name, priority, raw).
SELECT m.due, q.name, m.priority, b.raw
FROM messages AS m INDEXED BY messages_due JOIN queues AS q ON q.id = m.queue JOIN bodies AS b ON b.id = m.id
WHERE m.state = 4 AND m.queue IN (SELECT id FROM queues WHERE name IN (SELECT value FROM json_each(?1)))
ORDER BY m.due, m.id LIMIT ?2

-- name: count-delayed
SELECT count(*) FROM messages INDEXED BY messages_due
WHERE state = 4 AND queue IN (SELECT id FROM queues WHERE name IN (SELECT value FROM json_each(?1)))
