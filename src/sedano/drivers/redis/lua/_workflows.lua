-- Shared: records of workflows. `kept` is the table of key names {records, ends, bytes}.

local function drop_record(kept, id)
  local record = redis.call('HGET', kept.records, id)
  redis.call('ZREM', kept.ends, id)
  if record then
    redis.call('HDEL', kept.records, id)
    redis.call('DECRBY', kept.bytes, #record)
  end
end

local function drop_ended(kept, now)
  for _, id in ipairs(redis.call('ZRANGE', kept.ends, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)) do drop_record(kept, id) end
end

-- Keep a record; those that end first go until all fit in `max_bytes`. The newest always stays.
local function keep_record(kept, id, ends_at, max_bytes, record)
  drop_record(kept, id)
  redis.call('HSET', kept.records, id, record)
  redis.call('ZADD', kept.ends, ends_at, id)
  local total = redis.call('INCRBY', kept.bytes, #record)
  while total > max_bytes do
    local ids = redis.call('ZRANGE', kept.ends, 0, 1)
    local victim = ids[1] ~= id and ids[1] or ids[2]
    if not victim then break end
    drop_record(kept, victim)
    total = tonumber(redis.call('GET', kept.bytes))
  end
end
