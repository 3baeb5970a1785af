-- Publish messages of which some bring the record of a workflow.
-- KEYS  1 sequence  2 workflows  3 workflow_ends  4 workflow_bytes
-- ARGV  1 now, Unix seconds  2 how many records  then for each: id, ends at, max bytes, record
--       then the messages, four arguments each, see _outgoing
-- Reply  nil
--> outgoing
local notes = tonumber(ARGV[2])
local first = 3 + 4 * notes
for i = first, #ARGV, 4 do
  local reason = misfit(ARGV[i], ARGV[i + 1])
  if reason then return redis.error_reply(reason) end
end
for i = first, #ARGV, 4 do
  send(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], KEYS[1])
end

local function drop(id)
  local record = redis.call('HGET', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
  if record then
    redis.call('HDEL', KEYS[2], id)
    redis.call('DECRBY', KEYS[4], #record)
  end
end

for _, id in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 100)) do drop(id) end
for i = 3, first - 1, 4 do
  local id, ends_at, max_bytes, record = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  drop(id)
  redis.call('HSET', KEYS[2], id, record)
  redis.call('ZADD', KEYS[3], ends_at, id)
  local total = redis.call('INCRBY', KEYS[4], #record)
  while total > max_bytes do
    local ids = redis.call('ZRANGE', KEYS[3], 0, 1)
    local victim = ids[1] ~= id and ids[1] or ids[2]
    if not victim then break end
    drop(victim)
    total = tonumber(redis.call('GET', KEYS[4]))
  end
end
