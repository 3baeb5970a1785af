-- Take or renew a lock.
-- KEYS  1 lock  2 its counter of terms
-- ARGV  1 owner  2 ttl in ms
-- Reply the term, or nil when another has it
--> full
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return false end
despite_full(KEYS[1])
if not owner then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'term', redis.call('INCR', KEYS[2]))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(redis.call('HGET', KEYS[1], 'term'))
