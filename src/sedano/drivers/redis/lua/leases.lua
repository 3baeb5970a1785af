-- All leases.
-- KEYS  1 owners  2 prefix of lease.  3 prefix of held.
-- Reply flat: owner, node, fence, beats, held, ...
local owners = redis.call('SMEMBERS', KEYS[1])
table.sort(owners)
local reply = {}
for _, owner in ipairs(owners) do
  local lease = redis.call('HMGET', KEYS[2] .. owner, 'node', 'was', 'beats')
  for _, value in ipairs({owner, lease[1] or '', lease[2] or '0', lease[3] or '0'}) do reply[#reply + 1] = value end
  reply[#reply + 1] = redis.call('HLEN', KEYS[3] .. owner)
end
return reply
