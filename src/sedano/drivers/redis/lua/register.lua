-- Take a lease for a new owner.
-- KEYS  1 lease  2 owners  3 fence counter  4 layout
-- ARGV  1 owner  2 node  3 version of the layout
-- Reply the fence; 'taken' when the name is in use; {version} when the keys are of another version
--> full
local layout = redis.call('GET', KEYS[4])
despite_full(KEYS[1])
if not layout then
  redis.call('SET', KEYS[4], ARGV[3])
elseif layout ~= ARGV[3] then
  return {layout}
end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
local fence = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], 'fence', fence, 'was', fence, 'node', ARGV[2], 'beats', 0, 'scored', redis.call('TIME')[1])
redis.call('SADD', KEYS[2], ARGV[1])
return fence
