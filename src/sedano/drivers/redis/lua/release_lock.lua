-- Give a lock back.
-- KEYS  1 lock
-- ARGV  1 owner
-- Reply 1 when it was the owner's
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
