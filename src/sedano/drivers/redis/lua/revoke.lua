-- Keep revoke orders; those whose time is over go.
-- KEYS  1 revoked  2 revoke_orders  3 revision
-- ARGV  1 milliseconds for which they are kept  then task id, order, ...
-- Reply the new revision
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local over = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1000)
for _, task_id in ipairs(over) do
  redis.call('ZREM', KEYS[1], task_id)
  redis.call('HDEL', KEYS[2], task_id)
end
for i = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return redis.call('INCR', KEYS[3])
