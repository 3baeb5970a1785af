-- A chord gets more parts than its start says.
-- KEYS  1 group key
-- ARGV  1 how many  2 ttl in ms, for one of which nothing is known yet
-- Reply nil
local more = KEYS[1] .. '.t'
redis.call('INCRBY', more, ARGV[1])
if redis.call('PTTL', more) < 0 then redis.call('PEXPIRE', more, ARGV[2]) end
