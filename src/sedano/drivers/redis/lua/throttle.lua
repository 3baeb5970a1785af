-- May one more call begin under a rate limit of the whole cluster? As `rules/rates.py` decides it, by the server's clock.
-- KEYS  1 the task's limit: hash of free and promised, Unix seconds
-- ARGV  1 calls per second  2 "1" when the call has waited for its turn already  3 burst in s  4 horizon in s
--       5 after how many seconds at most to look again at what is beyond the horizon  6 and at least  7 grace in s
-- Reply {seconds to wait as text ("0": it is counted, and may begin), 1 when it is beyond the horizon}
--> full
despite_full(KEYS[1])
local interval, burst = 1 / tonumber(ARGV[1]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local known = redis.call('HMGET', KEYS[1], 'free', 'promised')
local free, promised = tonumber(known[1] or 0), tonumber(known[2] or 0)
if free < now - burst then free = now
elseif free > now + interval + burst then free = now + interval end
if promised > now + math.max(tonumber(ARGV[4]), interval) + interval then promised = free end
local wait, far = 0, 0
local grace = 0
if promised > now and ARGV[2] ~= '1' and interval > burst then grace = tonumber(ARGV[7]) end
if now >= free - math.max(0, burst - interval) + grace then
  free = free + interval
elseif ARGV[2] == '1' then
  wait = free - now
else
  local at = math.max(promised + interval, free)
  if promised > now and at - now > tonumber(ARGV[4]) then
    wait, far = math.min(math.max(free + grace - now, tonumber(ARGV[6])), tonumber(ARGV[5])), 1
  else
    promised, wait = at, at - now
  end
end
redis.call('HSET', KEYS[1], 'free', string.format('%.6f', free), 'promised', string.format('%.6f', promised))
redis.call('PEXPIRE', KEYS[1], math.ceil((math.max(free, promised) - now) * 1000) + 60000)
return {string.format('%.6f', wait), far}
