-- Chords that grow while they run, and who has the claim to finish one.
--   more     parts that were added to the size
--   claimer  the part, "<group index>:<task id>", that was counted last; "" when the size came last; null while nobody has it
ALTER TABLE chords ADD COLUMN more INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chords ADD COLUMN claimer TEXT;
