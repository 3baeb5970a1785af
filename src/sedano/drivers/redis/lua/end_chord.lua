-- A chord is over.
-- KEYS  1 group key
-- ARGV  1 seconds for which it is remembered
-- Reply nil
--> results
end_chord(KEYS[1], ARGV[1])
