-- The body was published: drop a chord's bookkeeping and remember that it is done, unless a Celery worker has the claim.
-- KEYS  1 group key
-- ARGV  1 seconds for which it is remembered
-- Reply nil
local claim = redis.call('GET', KEYS[1] .. '.c')
if claim and claim ~= 'sedano' and claim ~= 'done' then return end
redis.call('DEL', KEYS[1] .. '.j', KEYS[1] .. '.t', KEYS[1] .. '.s', KEYS[1] .. '.d')
redis.call('SET', KEYS[1] .. '.c', 'done', 'EX', ARGV[1])
