-- Put reserved or begun deliveries back to the head of their queues, in the order in which they were reserved.
-- KEYS  1 lease  2 held  3 kept  4 unacked  5 unacked_index  6 pending  7 owners
-- ARGV  1 fence  2 owner  3 global key prefix  4 separator
--       5 the standings that count, 'rq' (release) or 'el' (unbegin)
--       6 'all', 'some', or 'retire': all, and end the lease when nothing is left under it
--       7... tags: those meant ('some'), those not meant ('all')
-- Reply nil when the lease is lost, else how many went back
--> values
--> full
local held, kept, unacked, index = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return false end
local prefix, separator, standings = ARGV[3], ARGV[4], ARGV[5]

local tags, records = {}, {}
if ARGV[6] == 'some' then
  for i = 7, #ARGV do tags[#tags + 1] = ARGV[i] end
  records = gather('HMGET', held, tags)
else
  local all, not_meant = call('HGETALL', held), {}
  for i = 7, #ARGV do not_meant[ARGV[i]] = true end
  for i = 1, #all, 2 do
    if not not_meant[all[i]] then
      tags[#tags + 1] = all[i]
      records[#records + 1] = all[i + 1]
    end
  end
end

local found, seen = {}, {}
for i, tag in ipairs(tags) do
  local record = records[i]
  if record and not seen[tag] and string.find(standings, string.sub(record, 1, 1), 1, true) then
    seen[tag] = true
    found[#found + 1] = {tag = tag, record = record, number = number_of(tag)}
  end
end
-- The last goes in first, so that the first is the next to be taken.
table.sort(found, function(one, other) return one.number > other.number end)

local gone, kinds, by_list, count = {}, {}, {}, 0
for i, one in ipairs(found) do gone[i], kinds[i] = one.tag, one.record end
local there = still_there(index, gone, kinds)
local envelopes = gather('HMGET', kept, gone)
for i = 1, #gone do
  if there[i] then
    local _, step, queue = parts_of(kinds[i])
    local list = prefix .. queue .. (step == '0' and '' or separator .. step)
    by_list[list] = by_list[list] or {}
    table.insert(by_list[list], envelopes[i])
    count = count + 1
  end
end
despite_full(held)
for list, items in pairs(by_list) do many('RPUSH', list, items) end
many('HDEL', held, gone)
many('HDEL', kept, gone)
many('HDEL', unacked, gone)
many('ZREM', index, gone)

if ARGV[6] == 'retire' and call('EXISTS', held, KEYS[6]) == 0 then
  call('DEL', KEYS[1], kept)
  call('SREM', KEYS[7], ARGV[2])
end
return count
