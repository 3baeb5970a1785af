-- name: drop
DELETE FROM workflows WHERE workflow_id = ?1

-- name: drop-over
DELETE FROM workflows WHERE id IN (SELECT id FROM workflows INDEXED BY workflows_by_end WHERE ends_at <= ?1 LIMIT ?2)

-- name: keep
-- ?1 workflow_id, ?2 ends_at, ?3 record.
INSERT INTO workflows (workflow_id, ends_at, bytes, record) VALUES (?1, ?2, length(?3), ?3)

-- name: bytes
SELECT value FROM counters WHERE name = 'workflow bytes'

-- name: drop-first
-- The one that ends first of those that are not ?1; gives its id back, if there was one.
DELETE FROM workflows WHERE id = (
  SELECT id FROM workflows INDEXED BY workflows_by_end WHERE workflow_id <> ?1 ORDER BY ends_at, id LIMIT 1
) RETURNING id

-- name: read
SELECT record FROM workflows WHERE workflow_id = ?1 AND ends_at > ?2

-- name: page
-- Kept at ?1; ?2 of them after the first ?3, the one that ends last first.
SELECT workflow_id, record FROM workflows INDEXED BY workflows_by_end
WHERE ends_at > ?1 ORDER BY ends_at DESC, id DESC LIMIT ?2 OFFSET ?3

-- name: look-held
-- The first ?1 messages that are in somebody's hands: (raw, state, queue, due, node).
SELECT b.raw, m.state, q.name, m.due, coalesce(o.node, '')
FROM messages AS m INDEXED BY messages_held JOIN bodies AS b ON b.id = m.id JOIN queues AS q ON q.id = m.queue
LEFT JOIN owners AS o ON o.fence = m.owner
WHERE m.serial IS NOT NULL LIMIT ?1

-- name: look-waiting
-- As `look-held`, of what is ready or delayed in the queues of the JSON list ?2.
SELECT b.raw, m.state, q.name, m.due, ''
FROM queues AS q CROSS JOIN messages AS m ON m.queue = q.id AND m.serial IS NULL JOIN bodies AS b ON b.id = m.id
WHERE q.name IN (SELECT value FROM json_each(?2)) LIMIT ?1

-- name: look-parked
SELECT p.raw, 5, q.name, p.due, '' FROM queues AS q CROSS JOIN parked AS p INDEXED BY parked_due ON p.queue = q.id
WHERE q.name IN (SELECT value FROM json_each(?2)) LIMIT ?1

-- name: look-dead
-- Dead letters of the calls in the JSON list ?1 at ?2, the oldest first: (task_id, queue, cause, detail).
SELECT d.task_id, q.name, d.cause, d.detail FROM dead AS d JOIN queues AS q ON q.id = d.queue
WHERE d.ends_at > ?2 AND d.task_id IN (SELECT value FROM json_each(?1)) ORDER BY d.id

-- name: find-dead
-- Dead letters of the call ?1 at ?2, the oldest first: (queue, cause, detail, raw).
SELECT q.name, d.cause, d.detail, d.raw FROM dead AS d JOIN queues AS q ON q.id = d.queue
WHERE d.ends_at > ?2 AND d.task_id = ?1 ORDER BY d.id

-- name: ahead
-- How many ready messages of queue ?1 are to be taken before the first that is ?2 to the byte.
SELECT count(*) FROM messages AS m INDEXED BY messages_ready JOIN (
  SELECT r.queue, r.priority, r.place, r.id FROM queues AS q CROSS JOIN messages AS r INDEXED BY messages_ready
  CROSS JOIN bodies AS b ON b.id = r.id
  WHERE q.name = ?1 AND r.queue = q.id AND r.state = 0 AND b.raw = ?2 ORDER BY r.priority, r.place, r.id LIMIT 1
) AS it ON m.queue = it.queue
WHERE m.state = 0 AND (m.priority, m.place, m.id) < (it.priority, it.place, it.id)
