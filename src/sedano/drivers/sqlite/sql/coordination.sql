-- name: revision
SELECT value FROM counters WHERE name = 'revokes'

-- name: next-revision
UPDATE counters SET value = value + 1 WHERE name = 'revokes' RETURNING value

-- name: revoke
INSERT INTO revokes (task_id, terminate, signal, ends_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (task_id) DO UPDATE SET terminate = excluded.terminate, signal = excluded.signal, ends_at = excluded.ends_at

-- name: drop-over
DELETE FROM revokes WHERE ends_at <= ?1

-- name: revokes
-- The revision in every row, of one moment: (value, task_id, terminate, signal); a null id when nothing is revoked.
SELECT c.value, r.task_id, r.terminate, r.signal FROM counters AS c
LEFT JOIN revokes AS r ON r.ends_at > ?1
WHERE c.name = 'revokes' ORDER BY r.id

-- name: lock
-- (owner, term, ends_at)
SELECT owner, term, ends_at FROM locks WHERE name = ?1

-- name: set-lock
INSERT INTO locks (name, owner, term, ends_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, term = excluded.term, ends_at = excluded.ends_at

-- name: pause
-- Queue ?1 is paused since ?2, for reason ?3, by ?4.
INSERT INTO pauses (queue, since, reason, by_whom) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (queue) DO UPDATE SET since = excluded.since, reason = excluded.reason, by_whom = excluded.by_whom

-- name: resume
-- A row when queue ?1 was paused.
DELETE FROM pauses WHERE queue = ?1 RETURNING queue

-- name: pauses
-- (queue's name, since, reason, by whom)
SELECT q.name, p.since, p.reason, p.by_whom FROM pauses AS p CROSS JOIN queues AS q ON q.id = p.queue ORDER BY q.name

-- name: rate
-- (free, promised)
SELECT free, promised FROM rates WHERE name = ?1

-- name: set-rate
INSERT INTO rates (name, free, promised) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET free = excluded.free, promised = excluded.promised
