DROP TABLE workflows;
DELETE FROM counters WHERE name = 'workflow bytes';
