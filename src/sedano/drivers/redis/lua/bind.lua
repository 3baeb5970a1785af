-- Bind an expiring queue and put off the day on which Kombu 5.7 would delete its exchange's bindings.
-- KEYS  1 bindings of the exchange  2 deadlines
-- ARGV  1 member  2 exchange  3 milliseconds from now
-- Reply nil
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], 'GT', now + tonumber(ARGV[3]), ARGV[2])
