-- Take deliveries out of `unacked` whose bytes the caller cannot read. They are reserved again, were they begun or not.
-- KEYS  1 lease  2 held  3 unacked  4 unacked_index
-- ARGV  1 fence  2... tags
-- Reply how many were moved
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
local moved = 0
for i = 2, #ARGV do
  local record = redis.call('HGET', KEYS[2], ARGV[i])
  if record and string.find(record, '^[rl]') and redis.call('HDEL', KEYS[3], ARGV[i]) == 1 then
    redis.call('ZREM', KEYS[4], ARGV[i])
    redis.call('HSET', KEYS[2], ARGV[i], 'q' .. string.sub(record, 2))
    moved = moved + 1
  end
end
return moved
