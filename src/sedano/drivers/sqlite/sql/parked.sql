-- name: put
INSERT INTO parked (queue, task, priority, due, raw) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: is-any
SELECT EXISTS (SELECT 1 FROM parked)

-- name: over
-- The first ?3 of the queues in the JSON list of names ?1 whose time ends at ?2 or before: (id, queue, priority, raw).
SELECT p.id, p.queue, p.priority, p.raw FROM queues AS q CROSS JOIN parked AS p INDEXED BY parked_due ON p.queue = q.id
WHERE q.name IN (SELECT value FROM json_each(?1)) AND p.due <= ?2 ORDER BY p.due, p.id LIMIT ?3

-- name: known
-- As `over`, of the tasks in the JSON list ?2 and whenever their time ends.
SELECT p.id, p.queue, p.priority, p.raw FROM queues AS q CROSS JOIN parked AS p INDEXED BY parked_tasks ON p.queue = q.id
WHERE q.name IN (SELECT value FROM json_each(?1)) AND p.task IN (SELECT value FROM json_each(?2))
ORDER BY p.due, p.id LIMIT ?3

-- name: is-known
SELECT EXISTS (
  SELECT 1 FROM queues AS q CROSS JOIN parked AS p INDEXED BY parked_tasks ON p.queue = q.id
  WHERE q.name IN (SELECT value FROM json_each(?1)) AND p.task IN (SELECT value FROM json_each(?2))
)

-- name: drop
DELETE FROM parked WHERE id IN (SELECT value FROM json_each(?1))

-- name: counts
-- For each name in the JSON list ?1 and each task: (queue, task, how many, when the first ends).
SELECT j.value, p.task, count(*), min(p.due)
FROM json_each(?1) AS j JOIN queues AS q ON q.name = j.value JOIN parked AS p INDEXED BY parked_tasks ON p.queue = q.id
GROUP BY j.key, p.task ORDER BY j.key, p.task
