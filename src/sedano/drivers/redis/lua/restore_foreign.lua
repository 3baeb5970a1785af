-- Find what dead Celery workers left, leaving alone what a Sedano owner holds.
-- KEYS  1 unacked  2 unacked_index  3 unacked_mutex  4 owners  5 prefix of held.
-- ARGV  1 visibility timeout in seconds  2 limit  3 token  4 milliseconds for which the mutex is taken
-- Reply nil when somebody else is restoring, else flat: field, value ('' when it has none), ...; the mutex is then ours
if not redis.call('SET', KEYS[3], ARGV[3], 'NX', 'PX', ARGV[4]) then return false end
local time = redis.call('TIME')
local latest = tonumber(time[1]) + tonumber(time[2]) / 1e6 - tonumber(ARGV[1])
local owners = redis.call('SMEMBERS', KEYS[4])
local function is_held(field)
  for _, owner in ipairs(owners) do
    if redis.call('HEXISTS', KEYS[5] .. owner, field) == 1 then return true end
  end
  return false
end
local reply = {}
for _, field in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', latest, 'BYSCORE', 'LIMIT', 0, ARGV[2])) do
  if not is_held(field) then
    reply[#reply + 1] = field
    reply[#reply + 1] = redis.call('HGET', KEYS[1], field) or ''
  end
end
return reply
