-- Say how many parts a chord has.
-- KEYS  1 group key
-- ARGV  1 size  2 ttl in ms  3 claim in s
-- Reply 1 when all parts are there and the claim is taken by this step
--> results
-- A finished chord that is started again is a new run, as in Celery; a claim that somebody holds now is left to him.
if redis.call('GET', KEYS[1] .. '.c') == 'done' then redis.call('DEL', KEYS[1] .. '.c') end
redis.call('SET', KEYS[1] .. '.s', ARGV[1])
keep_chord(KEYS[1], ARGV[2])
return claim_chord(KEYS[1], ARGV[3]) and 1 or 0
