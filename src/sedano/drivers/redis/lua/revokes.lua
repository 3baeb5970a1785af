-- All revoke orders that are kept.
-- KEYS  1 revoked  2 revoke_orders  3 revision
-- Reply {revision, task id, order, ...}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local reply = {tonumber(redis.call('GET', KEYS[3]) or 0)}
for _, task_id in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. now, '+inf', 'BYSCORE')) do
  reply[#reply + 1] = task_id
  reply[#reply + 1] = redis.call('HGET', KEYS[2], task_id) or ''
end
return reply
