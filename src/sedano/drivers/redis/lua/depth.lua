-- Count what queues hold.
-- KEYS  1 owners  2 prefix of held.  3 prefix of delayed.  4 letters  5 prefix of dead.  6 dead_expiry  7 dead_bytes
--       8 what stands before our keys  9 pauses
-- ARGV  1 now  2 number of steps  then for each queue its name and its ready lists
-- Reply for each queue {ready, delayed, reserved, begun, dead, parked, 1 when it is paused,
--       {of each head its text from the headers on, ...}}
--       or {key, what it is} when a ready list is no list
--> dead
prune_letters({letters = KEYS[4], by_queue = KEYS[5], expiry = KEYS[6], bytes = KEYS[7]}, ARGV[1])
local reserved, begun = {}, {}
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  for _, record in ipairs(redis.call('HVALS', KEYS[2] .. owner)) do
    local standing, queue = string.match(record, '^(.)%d+:(.*)$')
    local counts = (standing == 'e' or standing == 'l') and begun or reserved
    counts[queue] = (counts[queue] or 0) + 1
  end
end

-- How many are ready, and their heads without bodies: a body may be megabytes, and its quotes are escaped where it stands
-- behind the headers. Also the first of the lists that is none.
local function look(lists)
  local ready, heads = 0, {}
  for _, list in ipairs(lists) do
    local kind = redis.call('TYPE', list).ok
    if kind == 'list' then
      ready = ready + redis.call('LLEN', list)
      local head = redis.call('LINDEX', list, -1)
      local from = string.find(head, '"headers"', 1, true)
      if from then heads[#heads + 1] = string.sub(head, from) end
    elseif kind ~= 'none' then
      return ready, heads, {list, kind}
    end
  end
  return ready, heads
end

local reply = {}
local steps = tonumber(ARGV[2])
for i = 3, #ARGV, steps + 1 do
  local queue = ARGV[i]
  local ready, heads, foreign = look({unpack(ARGV, i + 1, i + steps)})
  local parked = 0
  for _, task in ipairs(redis.call('SMEMBERS', KEYS[8] .. 'parked_tasks.' .. queue)) do
    parked = parked + redis.call('ZCARD', KEYS[8] .. 'parked.' .. #queue .. ':' .. queue .. ':' .. task)
  end
  reply[#reply + 1] = foreign or {
    ready, redis.call('ZCARD', KEYS[3] .. queue), reserved[queue] or 0, begun[queue] or 0,
    redis.call('ZCARD', KEYS[5] .. queue), parked, redis.call('HEXISTS', KEYS[9], queue), heads,
  }
end
return reply
