-- Push a reply to the queues bound with its routing key; with none bound nothing is made.
-- KEYS  1 bindings of the exchange
-- ARGV  1 routing key  2 separator  3 global key prefix  4 envelope
-- Reply how many queues got it
local count = 0
local head = ARGV[1] .. ARGV[2]
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if string.sub(member, 1, #head) == head then
    local _, last = string.find(member, ARGV[2], #head + 1, true)
    if last then
      redis.call('LPUSH', ARGV[3] .. string.sub(member, last + 1), ARGV[4])
      count = count + 1
    end
  end
end
return count
