-- Move parked calls of some tasks to the head of their queues; the one whose time ends first is the next to be taken.
-- KEYS  none: a key for each queue and task
-- ARGV  1 limit  2 global key prefix  3 separator  4 what stands before our keys  5 number of queues  6... queues, tasks
-- Reply how many
--> schedule
local count = tonumber(ARGV[5])
local queues, only = {}, {}
for i = 6, 5 + count do queues[#queues + 1] = ARGV[i] end
for i = 6 + count, #ARGV do only[ARGV[i]] = true end
local taken = take_parked(ARGV[4], queues, '+inf', tonumber(ARGV[1]), only)
for i = #taken, 1, -1 do
  local step = taken[i][2]
  redis.call('RPUSH', ARGV[2] .. queues[taken[i][1]] .. (step == '0' and '' or ARGV[3] .. step), taken[i][3])
end
return #taken
