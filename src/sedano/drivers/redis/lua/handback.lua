-- Put delayed calls, then parked ones, to the tail of their queues, due or not, earliest first.
-- KEYS  the schedules
-- ARGV  1 limit  2 global key prefix  3 separator  4 what stands before our keys  5... the queues of the schedules
-- Reply how many
--> schedule
local queues = {unpack(ARGV, 5)}
local function to_tails(taken)
  for _, one in ipairs(taken) do
    redis.call('LPUSH', ARGV[2] .. queues[one[1]] .. (one[2] == '0' and '' or ARGV[3] .. one[2]), one[3])
  end
end

local taken = take_due(KEYS, '+inf', tonumber(ARGV[1]))
to_tails(taken)
local parked = take_parked(ARGV[4], queues, '+inf', tonumber(ARGV[1]) - #taken)
to_tails(parked)
return #taken + #parked
