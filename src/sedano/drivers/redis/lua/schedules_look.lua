-- What is due, the longest due first.
-- KEYS  1 definitions  2 states  3 due  4 counters
-- ARGV  1 until, Unix seconds  2 limit
-- Reply {revision, due of the very first or '', then the entries, see _entries}
--> values
--> entries
local first = call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] or ''
local names = call('ZRANGE', KEYS[3], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
return add_entries({call('HGET', KEYS[4], 'revision') or '0', first}, names, KEYS[1], KEYS[2], KEYS[3])
