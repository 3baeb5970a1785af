-- Add members to sets: queues and bindings that a worker must know of before it may take work off a full server.
-- KEYS  the sets
-- ARGV  the member of each
-- Reply nil
redis.call('SREM', KEYS[1], '') -- changes nothing; see _full
for i, key in ipairs(KEYS) do
  redis.call('SADD', key, ARGV[i])
end
