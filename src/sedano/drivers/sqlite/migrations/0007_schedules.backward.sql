DROP TABLE schedule_runs;
DROP TABLE schedules;
DROP TABLE schedule_spaces;
