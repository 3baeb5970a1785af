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

-- Whether all parts are there and the claim is taken now, under the name `token`, or (`again`) was taken so before. It is taken
-- once, whoever else counts.
local function claim_chord(base, claim_s, token, again)
  local size = redis.call('GET', base .. '.s')
  if not size then return false end
  local parts = base .. '.j'
  local counted = redis.call('TYPE', parts).ok == 'list' and redis.call('LLEN', parts) or redis.call('ZCARD', parts)
  -- Two entries of one header with the same id and result are one member of the zset, but two of the set.
  counted = math.max(counted, redis.call('SCARD', base .. '.d'))
  if counted < tonumber(size) + tonumber(redis.call('GET', base .. '.t') or 0) then return false end
  if redis.call('SET', base .. '.c', token, 'NX', 'EX', claim_s) then return true end
  return again == '1' and redis.call('GET', base .. '.c') == token
end

local function keep_chord(base, ttl_ms)
  for _, suffix in ipairs({'.j', '.t', '.s', '.d'}) do
    redis.call('PEXPIRE', base .. suffix, ttl_ms)
  end
  redis.call('PEXPIRE', base, ttl_ms)
end

-- The chords that parts are counted for, as `take` gives them: group key, ttl in ms, '1' when ordered, claim in s.
local function take_chord(take)
  local base, ttl_ms, ordered, claim_s = take(), take(), take(), take()
  return {base = base, ttl_ms = ttl_ms, ordered = ordered, claim_s = claim_s, at = 0}
end

-- Count a part of `chord` once by `member`; it is the part number `at` of this step.
local function add_part(chord, at, member, score, payload)
  local base = chord.base
  if chord.is_done == nil then chord.is_done = redis.call('GET', base .. '.c') == 'done' end
  if chord.is_done then return end
  if redis.call('SADD', base .. '.d', member) == 1 then
    if chord.ordered == '1' then
      redis.call('ZADD', base .. '.j', score, payload)
    else
      redis.call('RPUSH', base .. '.j', payload)
    end
  end
  chord.last, chord.at = member, at
end

-- After all parts of a step were added: the chords that they completed and of which this step took the claim, in the order in
-- which they were completed.
local function completed(chords, again)
  table.sort(chords, function(one, other) return one.at < other.at end)
  local found = {}
  for _, chord in ipairs(chords) do
    if chord.last then
      keep_chord(chord.base, chord.ttl_ms)
      if claim_chord(chord.base, chord.claim_s, 'sedano:' .. chord.last, again) then found[#found + 1] = chord end
    end
  end
  return found
end

-- Say how many parts a chord has; `start_chord` is true when they are all there and this step has the claim.
-- A finished chord that is started again is a new run, as in Celery; a claim that somebody holds now is left to him.
local function set_size(base, size, ttl_ms)
  if redis.call('GET', base .. '.c') == 'done' then redis.call('DEL', base .. '.c') end
  redis.call('SET', base .. '.s', size)
  keep_chord(base, ttl_ms)
end

local function start_chord(base, size, ttl_ms, claim_s)
  set_size(base, size, ttl_ms)
  return claim_chord(base, claim_s, 'sedano')
end

-- Its body went out, or failed: drop a chord's bookkeeping and remember that it is done, unless a Celery worker has the claim.
local function end_chord(base, remembered_s)
  local claim = redis.call('GET', base .. '.c')
  if claim and string.sub(claim, 1, 6) ~= 'sedano' and claim ~= 'done' then return end
  redis.call('DEL', base .. '.j', base .. '.t', base .. '.s', base .. '.d', base .. '.g')
  redis.call('SET', base .. '.c', 'done', 'EX', remembered_s)
end
