-- Move due calls to the head of their queues, delayed ones, then parked ones; the earliest is the next to be taken.
-- KEYS  the schedules
-- ARGV  1 now  2 limit  3 global key prefix  4 separator  5 what stands before our keys  6... the queues of the schedules
-- Reply {how many, when the next is due or nil}
--> values
--> schedule
local queues = {unpack(ARGV, 6)}
local function to_heads(taken)
  for i = #taken, 1, -1 do
    local step = taken[i][2]
    call('RPUSH', ARGV[3] .. queues[taken[i][1]] .. (step == '0' and '' or ARGV[4] .. step), taken[i][3])
  end
end

local taken = take_due(KEYS, ARGV[1], tonumber(ARGV[2]))
to_heads(taken)
local over, next_due = take_parked(ARGV[5], queues, ARGV[1], tonumber(ARGV[2]) - #taken)
to_heads(over)
for _, schedule in ipairs(KEYS) do
  local first = call('ZRANGE', schedule, 0, 0, 'WITHSCORES')[2]
  if first and (not next_due or tonumber(first) < tonumber(next_due)) then next_due = first end
end
return {#taken + #over, next_due or false}
