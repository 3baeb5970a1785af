-- End the pauses of queues. Whoever has read `paused` and waits is told that it has changed.
-- KEYS  1 pauses  2 paused
-- ARGV  queues
-- Reply those that were paused
--> full
local resumed = {}
despite_full(KEYS[1])
for _, queue in ipairs(ARGV) do
  if redis.call('HDEL', KEYS[1], queue) == 1 then resumed[#resumed + 1] = queue end
end
local left = redis.call('HKEYS', KEYS[1])
if #left > 0 then
  redis.call('SET', KEYS[2], cjson.encode(left))
else
  redis.call('DEL', KEYS[2])
end
return resumed
