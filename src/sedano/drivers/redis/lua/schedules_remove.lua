-- Forget entries and their runs.
-- KEYS  1 definitions  2 states  3 due  4 names  5 counters  6 ran  7 what stands before a name in the key of its runs
-- ARGV  names
-- Reply for each 1 when it was there, else 0
local found, count = {}, 0
for i, name in ipairs(ARGV) do
  found[i] = redis.call('HDEL', KEYS[1], name)
  if found[i] == 1 then
    redis.call('HDEL', KEYS[2], name)
    redis.call('ZREM', KEYS[3], name)
    redis.call('ZREM', KEYS[4], name)
    redis.call('ZREM', KEYS[6], name)
    redis.call('UNLINK', KEYS[7] .. name)
    count = count + 1
  end
end
if count > 0 then redis.call('HINCRBY', KEYS[5], 'revision', count) end
return found
