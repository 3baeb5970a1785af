-- What a lease has pending.
-- KEYS  1 lease  2 pending
-- ARGV  1 fence
-- Reply nil when the lease is lost, else the values
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return false end
return redis.call('HVALS', KEYS[2])
