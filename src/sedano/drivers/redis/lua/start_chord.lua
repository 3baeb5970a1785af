-- Say how many parts a chord has.
-- KEYS  1 group key
-- ARGV  1 size  2 ttl in ms  3 claim in s
-- Reply 1 when all parts are there and the claim is taken by this step
--> results
return start_chord(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) and 1 or 0
