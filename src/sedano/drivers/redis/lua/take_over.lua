-- End a dead owner's lease and make what it holds another's.
-- KEYS  1 lease of the taker  2 its held  3 its kept  4 its pending  5 owners  6 unacked  7 unacked_index
--       8 lease of the dead  9 its held  10 its kept  11 its pending
-- ARGV  1 fence of the taker  2 the dead owner  3 its fence  4 its beats  5 '1' to take whatever they are  6 limit
-- Reply nil when the taker's own lease is lost, else
--       {'1' when there is more, {tag, record, envelope, ...}, {pending value, ...}}
--> values
--> full
if call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return false end
local dead = ARGV[2]
local state = call('HMGET', KEYS[8], 'was', 'beats')
local is_known = call('SISMEMBER', KEYS[5], dead) == 1
local is_same = (state[1] or '0') == ARGV[3] and (state[2] or '0') == ARGV[4]
if not is_known or KEYS[1] == KEYS[8] or not (is_same or ARGV[5] == '1') then return {'0', {}, {}} end
despite_full(KEYS[8])
call('HSET', KEYS[8], 'fence', 'ended')

local limit = tonumber(ARGV[6])
local all = call('HGETALL', KEYS[9])
local found = {}
for i = 1, #all, 2 do found[#found + 1] = {tag = all[i], record = all[i + 1], number = number_of(all[i])} end
table.sort(found, function(one, other) return one.number < other.number end)

local now = call('TIME')[1]
local taken, gone, records, envelopes, count = {}, {}, {}, {}, 0
for _, one in ipairs(found) do
  if count == limit then break end
  gone[#gone + 1] = one.tag
  if still_there(KEYS[7], {one.tag}, {one.record})[1] then
    local envelope = call('HGET', KEYS[10], one.tag)
    count = count + 1
    for _, item in ipairs({one.tag, one.record, envelope}) do taken[#taken + 1] = item end
    for _, item in ipairs({one.tag, one.record}) do records[#records + 1] = item end
    for _, item in ipairs({one.tag, envelope}) do envelopes[#envelopes + 1] = item end
    call('ZADD', KEYS[7], 'XX', now, one.tag)
  end
end
many('HSET', KEYS[2], records)
many('HSET', KEYS[3], envelopes)
many('HDEL', KEYS[9], gone)
many('HDEL', KEYS[10], gone)

local pendings = call('HGETALL', KEYS[11])
local values, keys = {}, {}
for i = 1, #pendings, 2 do
  if count == limit then break end
  count = count + 1
  keys[#keys + 1] = pendings[i]
  values[#values + 1] = pendings[i + 1]
  call('HSET', KEYS[4], pendings[i], pendings[i + 1])
end
many('HDEL', KEYS[11], keys)

local more = call('EXISTS', KEYS[9], KEYS[11]) > 0
if not more then
  call('DEL', KEYS[8], KEYS[10])
  call('SREM', KEYS[5], dead)
end
return {more and '1' or '0', taken, values}
