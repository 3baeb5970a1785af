ALTER TABLE messages DROP COLUMN since;
DROP TABLE pauses;
