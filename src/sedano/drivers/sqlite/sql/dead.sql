-- name: keep
-- Message ?1 becomes a dead letter of queue ?2; then cause, detail, task_id, task, died_at, keep_s, max_bytes.
INSERT INTO dead (queue, cause, detail, task_id, task, died_at, keep_s, max_bytes, ends_at, raw)
SELECT ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?7 + ?8, raw FROM bodies WHERE id = ?1

-- name: expire-queue
DELETE FROM dead WHERE queue = ?1 AND ends_at <= ?2

-- name: expire
DELETE FROM dead WHERE id IN (
  SELECT d.id FROM queues AS q CROSS JOIN dead AS d INDEXED BY dead_by_end ON d.queue = q.id AND d.ends_at <= ?1 LIMIT ?2
)

-- name: size
-- Bytes of queue ?1's letters, and how many there are at least (0, 1 or 2).
SELECT dead_bytes, (SELECT count(*) FROM (SELECT 1 FROM dead INDEXED BY dead_by_queue WHERE queue = ?1 LIMIT 2))
FROM queues WHERE id = ?1

-- name: drop-oldest
DELETE FROM dead WHERE id = (SELECT min(id) FROM dead INDEXED BY dead_by_queue WHERE queue = ?1)

-- name: letters
-- Newest first: up to ?3 letters below id ?2 that are kept at ?1.
SELECT d.id, q.name, d.cause, d.detail, d.task_id, d.task, d.died_at, d.keep_s, d.max_bytes, d.raw
FROM dead AS d JOIN queues AS q ON q.id = d.queue
WHERE d.id < ?2 AND d.ends_at > ?1 ORDER BY d.id DESC LIMIT ?3

-- name: letters-of-queue
-- As `letters`, of queue ?4 only.
SELECT d.id, q.name, d.cause, d.detail, d.task_id, d.task, d.died_at, d.keep_s, d.max_bytes, d.raw
FROM queues AS q CROSS JOIN dead AS d INDEXED BY dead_by_queue ON d.queue = q.id
WHERE q.name = ?4 AND d.id < ?2 AND d.ends_at > ?1 ORDER BY d.id DESC LIMIT ?3

-- name: drop
DELETE FROM dead WHERE id IN (SELECT value FROM json_each(?1)) RETURNING id
