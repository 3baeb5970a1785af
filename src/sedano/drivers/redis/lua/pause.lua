-- Pause queues.
-- KEYS  1 pauses  2 paused
-- ARGV  queue, record, ...
-- Reply nil
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('SET', KEYS[2], cjson.encode(redis.call('HKEYS', KEYS[1])))
