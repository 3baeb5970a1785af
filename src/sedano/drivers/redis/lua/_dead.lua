-- Shared: dead letters. `dead` is the table of key names {letters, by_queue (a prefix), expiry, bytes, id}.
-- A letter is stored as "<bytes of queue> <bytes of note> <queue><note><envelope>".

local function parse_letter(letter)
  local queue_size, note_size, head = string.match(letter, '^(%d+) (%d+) ()')
  local queue = string.sub(letter, head, head + queue_size - 1)
  local note = string.sub(letter, head + queue_size, head + queue_size + note_size - 1)
  return queue, note, string.sub(letter, head + queue_size + note_size)
end

local function drop_letter(dead, id)
  local letter = redis.call('HGET', dead.letters, id)
  redis.call('ZREM', dead.expiry, id)
  if not letter then return 0 end
  local queue, _, envelope = parse_letter(letter)
  redis.call('HDEL', dead.letters, id)
  redis.call('ZREM', dead.by_queue .. queue, id)
  if redis.call('HINCRBY', dead.bytes, queue, -#envelope) <= 0 and redis.call('EXISTS', dead.by_queue .. queue) == 0 then
    redis.call('HDEL', dead.bytes, queue)
  end
  return 1
end

local function prune_letters(dead, now)
  for _, id in ipairs(redis.call('ZRANGE', dead.expiry, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1000)) do
    drop_letter(dead, id)
  end
end

-- Keep a letter; the oldest of its queue go until all fit in `max_bytes`. The newest always stays.
local function keep_letter(dead, queue, note, envelope, max_bytes, ends_at, now)
  local id = redis.call('INCR', dead.id)
  redis.call('HSET', dead.letters, id, #queue .. ' ' .. #note .. ' ' .. queue .. note .. envelope)
  redis.call('ZADD', dead.by_queue .. queue, id, id)
  redis.call('ZADD', dead.expiry, ends_at, id)
  local total = redis.call('HINCRBY', dead.bytes, queue, #envelope)
  prune_letters(dead, now)
  while total > tonumber(max_bytes) do
    local oldest = redis.call('ZRANGE', dead.by_queue .. queue, 0, 0)[1]
    if not oldest or tonumber(oldest) == id then break end
    drop_letter(dead, oldest)
    total = tonumber(redis.call('HGET', dead.bytes, queue) or 0)
  end
end
