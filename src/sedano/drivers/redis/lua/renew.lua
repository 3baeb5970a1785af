-- Add a beat to leases, and keep Celery workers away from what they hold.
-- KEYS  1 unacked_index  2 prefix of lease.  3 prefix of held.
-- ARGV  1 seconds after which scores are refreshed  then owner, fence, ...
-- Reply the numbers (from 1) of those that are lost
--> full
local now = tonumber(redis.call('TIME')[1])
local lost = {}
for i = 2, #ARGV, 2 do
  local owner = ARGV[i]
  local lease = KEYS[2] .. owner
  local state = redis.call('HMGET', lease, 'fence', 'scored', 'before')
  -- The fence before this one: whoever renews for a slot may not have read yet that it has another.
  if state[1] ~= ARGV[i + 1] and (state[3] ~= ARGV[i + 1] or state[1] == 'ended') then
    lost[#lost + 1] = i / 2
  else
    despite_full(lease)
    redis.call('HINCRBY', lease, 'beats', 1)
    if now - tonumber(state[2] or 0) >= tonumber(ARGV[1]) then
      local records = redis.call('HGETALL', KEYS[3] .. owner)
      for j = 1, #records, 2 do
        local standing = string.sub(records[j + 1], 1, 1)
        if standing == 'r' or standing == 'l' then redis.call('ZADD', KEYS[1], 'XX', now, records[j]) end
      end
      redis.call('HSET', lease, 'scored', now)
    end
  end
end
return lost
