-- Shared: result records and chords. Keys are in the results' database, which must be selected.

local function is_success(text)
  return string.find(text, '^{"status": ?"SUCCESS"') ~= nil
end

-- Write a record and tell its readers. As in Celery, a record that says SUCCESS is not overwritten by another state.
local function write_result(key, payload, ttl_ms)
  if not is_success(payload) and string.find(payload, '^{"status"') then
    local head = redis.pcall('GETRANGE', key, 0, 31) -- of another type: it is overwritten
    if type(head) == 'string' and is_success(head) then return end
  end
  if ttl_ms == '' then
    redis.call('SET', key, payload)
  else
    redis.call('SET', key, payload, 'PX', ttl_ms)
  end
  redis.call('PUBLISH', key, payload)
end

-- Whether all parts are there and the claim is ours: the claim is taken once, whoever else counts.
local function claim_chord(base, claim_s)
  local size = redis.call('GET', base .. '.s')
  if not size then return false end
  local parts = base .. '.j'
  local counted = redis.call('TYPE', parts).ok == 'list' and redis.call('LLEN', parts) or redis.call('ZCARD', parts)
  -- Two entries of one header with the same id and result are one member of the zset, but two of the set.
  counted = math.max(counted, redis.call('SCARD', base .. '.d'))
  if counted < tonumber(size) + tonumber(redis.call('GET', base .. '.t') or 0) then return false end
  return redis.call('SET', base .. '.c', 'sedano', 'NX', 'EX', claim_s) ~= false
end

local function keep_chord(base, ttl_ms)
  for _, suffix in ipairs({'.j', '.t', '.s', '.d'}) do
    redis.call('PEXPIRE', base .. suffix, ttl_ms)
  end
  redis.call('PEXPIRE', base, ttl_ms)
end

-- Count a part once by `member`; true when this very step completed the chord and took the claim.
local function count_part(base, member, score, payload, ttl_ms, ordered, claim_s)
  if redis.call('GET', base .. '.c') == 'done' then return false end
  if redis.call('SADD', base .. '.d', member) == 1 then
    if ordered == '1' then
      redis.call('ZADD', base .. '.j', score, payload)
    else
      redis.call('RPUSH', base .. '.j', payload)
    end
  end
  keep_chord(base, ttl_ms)
  return claim_chord(base, claim_s)
end
