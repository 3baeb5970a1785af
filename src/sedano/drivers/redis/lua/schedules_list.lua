-- The entries of a space by name.
-- KEYS  1 definitions  2 states  3 due  4 names
-- ARGV  1 '-', or '(' and the name after which they begin  2 limit
-- Reply see _entries
--> values
--> entries
return add_entries({}, call('ZRANGE', KEYS[4], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2]), KEYS[1], KEYS[2], KEYS[3])
