-- Put delayed calls to the tail of their queues, due or not, earliest first.
-- KEYS  the schedules
-- ARGV  1 limit  2 global key prefix  3 separator  4... the queues of the schedules
-- Reply how many
--> schedule
local taken = take_due(KEYS, '+inf', tonumber(ARGV[1]))
for _, one in ipairs(taken) do
  redis.call('LPUSH', ARGV[2] .. ARGV[3 + one[1]] .. (one[2] == '0' and '' or ARGV[3] .. one[2]), one[3])
end
return #taken
