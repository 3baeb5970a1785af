-- A chord gets more parts than its start says.
-- KEYS  1 group key
-- ARGV  1 how many  2 ttl in ms, for one of which nothing is known yet  3 its tag: once for each
-- Reply nil
local more, tags = KEYS[1] .. '.t', KEYS[1] .. '.g'
if redis.call('SADD', tags, ARGV[3]) == 0 then return end
redis.call('INCRBY', more, ARGV[1])
for _, key in ipairs({more, tags}) do
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ARGV[2]) end
end
