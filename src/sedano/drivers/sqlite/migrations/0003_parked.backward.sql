-- What is parked goes to the tails of the queues, as it came.
INSERT INTO messages (id, queue, state, priority)
SELECT coalesce((SELECT max(id) FROM messages), 0) + row_number() OVER (ORDER BY id), queue, 0, priority FROM parked;
INSERT INTO bodies (id, raw)
SELECT (SELECT max(id) FROM messages) - (SELECT count(*) FROM parked) + row_number() OVER (ORDER BY id), raw FROM parked;
DROP TABLE parked;
