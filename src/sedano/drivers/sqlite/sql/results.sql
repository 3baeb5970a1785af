-- name: write
-- Record ?2 of call ?1, kept until ?3; with ?4 1 (it says something else than SUCCESS), one that is kept at ?5 and says
-- SUCCESS stays: its text begins with {"status": "SUCCESS" or, without the space, {"status":"SUCCESS".
INSERT INTO results (task_id, payload, ends_at) VALUES (?1, ?2, ?3)
ON CONFLICT (task_id) DO UPDATE SET payload = excluded.payload, ends_at = excluded.ends_at
WHERE NOT ?4 OR results.ends_at <= ?5
  OR (substr(results.payload, 1, 20) <> x'7b22737461747573223a20225355434345535322'
    AND substr(results.payload, 1, 19) <> x'7b22737461747573223a225355434345535322')

-- name: note
-- Remember ?1 until ?3, once.
INSERT OR IGNORE INTO results (task_id, payload, ends_at) VALUES (?1, ?2, ?3)

-- name: fetch
-- The records of the ids in the JSON list ?1 that are kept at ?2: (task_id, payload).
SELECT r.task_id, r.payload FROM json_each(?1) AS j
CROSS JOIN results AS r ON r.task_id = j.value
WHERE r.ends_at IS NULL OR r.ends_at > ?2

-- name: forget
-- Delete the records of the ids in the JSON list ?1; a row for each that was kept at ?2.
DELETE FROM results WHERE task_id IN (SELECT value FROM json_each(?1)) RETURNING ends_at IS NULL OR ends_at > ?2

-- name: expire
DELETE FROM results WHERE id IN (
  SELECT id FROM results INDEXED BY results_by_end WHERE ends_at IS NOT NULL AND ends_at <= ?1 LIMIT ?2
)

-- name: any-expired
SELECT EXISTS (SELECT 1 FROM results INDEXED BY results_by_end WHERE ends_at IS NOT NULL AND ends_at <= ?1)
  OR EXISTS (SELECT 1 FROM chords WHERE ends_at <= ?1)
  OR EXISTS (SELECT 1 FROM queues AS q CROSS JOIN dead AS d INDEXED BY dead_by_end ON d.queue = q.id AND d.ends_at <= ?1)

-- name: find-chord
-- (id, size, counted, claimed, done, ends_at, more, claimer)
SELECT id, size, counted, claimed, done, ends_at, more, claimer FROM chords WHERE group_id = ?1

-- name: make-chord
INSERT INTO chords (group_id, ends_at) VALUES (?1, ?2) RETURNING id

-- name: drop-chord
DELETE FROM chords WHERE id = ?1

-- name: drop-parts
DELETE FROM chord_parts WHERE chord = ?1

-- name: count-part
INSERT OR IGNORE INTO chord_parts (chord, group_index, task_id, payload) VALUES (?1, ?2, ?3, ?4)

-- name: save-chord
-- ?1 id, then size, counted, claimed, ends_at, more, claimer.
UPDATE chords SET size = ?2, counted = ?3, claimed = ?4, ends_at = ?5, more = ?6, claimer = ?7 WHERE id = ?1

-- name: end-chord
-- Chord ?1 is done, remembered until ?2.
INSERT INTO chords (group_id, done, ends_at) VALUES (?1, 1, ?2)
ON CONFLICT (group_id) DO UPDATE SET size = NULL, counted = 0, claimed = 0, done = 1, more = 0, claimer = NULL,
  ends_at = excluded.ends_at
RETURNING id

-- name: parts
SELECT p.payload FROM chords AS c CROSS JOIN chord_parts AS p ON p.chord = c.id
WHERE c.group_id = ?1 AND c.ends_at > ?2 ORDER BY p.group_index, p.id

-- name: over-chords
SELECT id FROM chords WHERE ends_at <= ?1 LIMIT ?2
