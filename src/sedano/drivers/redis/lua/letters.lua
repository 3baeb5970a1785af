-- Dead letters, newest first.
-- KEYS  1 letters  2 prefix of dead.  3 dead_expiry  4 dead_bytes
-- ARGV  1 now  2 limit  3 the id before which to begin, or '+inf'  4 the queue; absent: all queues
-- Reply flat: id, queue, note, envelope, ...
--> dead
prune_letters({letters = KEYS[1], by_queue = KEYS[2], expiry = KEYS[3], bytes = KEYS[4]}, ARGV[1])
local before = ARGV[3] == '+inf' and '+inf' or '(' .. ARGV[3]
local limit = tonumber(ARGV[2])
local ids = {}
for _, queue in ipairs(ARGV[4] and {ARGV[4]} or redis.call('HKEYS', KEYS[4])) do
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2] .. queue, before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit)) do
    ids[#ids + 1] = id
  end
end
table.sort(ids, function(one, other) return tonumber(one) > tonumber(other) end)
local reply = {}
for i = 1, math.min(limit, #ids) do
  local queue, note, envelope = parse_letter(redis.call('HGET', KEYS[1], ids[i]))
  for _, part in ipairs({ids[i], queue, note, envelope}) do reply[#reply + 1] = part end
end
return reply
