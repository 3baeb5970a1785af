-- Give a lease another fence, which shuts out what was sent under the old one and arrives later.
-- KEYS  1 lease  2 fence counter
-- ARGV  1 fence
-- Reply the new fence, the same one for the same old one; nil when the lease is lost
--> full
local state = redis.call('HMGET', KEYS[1], 'fence', 'before')
if state[2] == ARGV[1] and state[1] ~= 'ended' then return tonumber(state[1]) end
if state[1] ~= ARGV[1] then return false end
despite_full(KEYS[1])
local fence = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'fence', fence, 'was', fence, 'before', ARGV[1])
return fence
