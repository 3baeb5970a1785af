-- Put back foreign deliveries that nobody has touched since they were found, and give the mutex back.
-- KEYS  1 unacked  2 unacked_index  3 unacked_mutex  4 letters  5 prefix of dead.  6 dead_expiry  7 dead_bytes  8 letter_id
-- ARGV  1 token  2 now  then for each: field, value as found, kind, and
--       kind 'L'  number of lists, that many ready lists, envelope: to their heads
--       kind 'D'  queue, note, envelope, max_bytes, ends_at: it cannot be read, a dead letter
-- Reply how many were put back
--> dead
local dead = {letters = KEYS[4], by_queue = KEYS[5], expiry = KEYS[6], bytes = KEYS[7], id = KEYS[8]}
local at, count = 2, 0
local function take()
  at = at + 1
  return ARGV[at]
end
while at < #ARGV do
  local field, value, kind = take(), take(), take()
  local is_there = (redis.call('HGET', KEYS[1], field) or '') == value
  if kind == 'L' then
    local lists = {}
    for i = 1, tonumber(take()) do lists[i] = take() end
    local envelope = take()
    if is_there then
      for _, list in ipairs(lists) do redis.call('RPUSH', list, envelope) end
      if #lists > 0 then count = count + 1 end
    end
  else
    local queue, note, envelope, max_bytes, ends_at = take(), take(), take(), take(), take()
    if is_there then keep_letter(dead, queue, note, envelope, max_bytes, ends_at, ARGV[2]) end
  end
  if is_there then
    redis.call('HDEL', KEYS[1], field)
    redis.call('ZREM', KEYS[2], field)
  end
end
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
return count
