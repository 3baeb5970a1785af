-- Write entries.
-- KEYS  1 definitions  2 states  3 due  4 names  5 counters
-- ARGV  for each: name, definition, due or '', '' or '=' and its state, '' or the revision that is expected
-- Reply for each its new revision, or nil when it is another one than expected
local answers = {}
local revision = tonumber(redis.call('HGET', KEYS[5], 'revision') or 0)
for i = 1, #ARGV, 5 do
  local name, definition, due, state, expected = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local mark = redis.call('HGET', KEYS[2], name)
  local known, stands = '0', ''
  if mark then known, stands = string.match(mark, '^(%d+):(.*)$') end
  if expected ~= '' and expected ~= known then
    answers[#answers + 1] = false
  else
    revision = revision + 1
    redis.call('HSET', KEYS[1], name, definition)
    redis.call('HSET', KEYS[2], name, revision .. ':' .. (state == '' and stands or string.sub(state, 2)))
    if not mark then redis.call('ZADD', KEYS[4], 0, name) end
    if due ~= '' then
      redis.call('ZADD', KEYS[3], due, name)
    elseif mark then
      redis.call('ZREM', KEYS[3], name)
    end
    answers[#answers + 1] = revision
  end
end
if revision > 0 then redis.call('HSET', KEYS[5], 'revision', revision) end
return answers
