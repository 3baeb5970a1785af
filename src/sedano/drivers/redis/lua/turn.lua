-- One turn of a slot: settle, delay, begin, reserve, as one step.
--
-- KEYS  1 lease  2 held  3 kept  4 pending  5 unacked  6 unacked_index  7 sequence  8 revision
--       9 prefix of our schedules (delayed.)  10 letters  11 prefix of dead.  12 dead_expiry  13 dead_bytes  14 letter_id
--       15 paused  16... the ready lists to look at, in this order
-- ARGV  1 fence  2 owner  3 global key prefix  4 separator  5 broker database  6 results database ('' when it is the same)
--       7 '' or how many bytes the settling needs: it goes into a full server, too, when it frees as many
--       then, each a count n followed by n entries:
--       stored       pending key
--       settlements  tag, or '=' and the key of a pending; the next seven only when there are any
--       outgoing     number of its settlement, kind, key, a, value (see _outgoing)
--       pendings     number of its settlement, key, value
--       results      number of its settlement, key, payload, ttl in ms or ''
--       starts       number of its settlement, group key, size, ttl in ms
--       chords       group key, ttl in ms, '1' when ordered, claim in s, key and value of the pending that it is kept as when its
--                    parts are all there, '' when it is not
--       parts        number of its settlement, number of its chord, member, index, payload
--       ends         number of its settlement, group key, seconds for which it is remembered
--       fates        number of its settlement, 'Q' envelope or '', or 'D' note; then max_bytes, ends_at, now (D only)
--       delays       tag, due
--       begins       tag; after the n tags one string of n letters, e early or l late
--       rule         '' or how those reserved are begun, 'e' or 'l'; then the tasks that are begun the other way, budget and most,
--                    and tasks with their costs
--       and: how many to reserve; when that is not 0, for each ready list '<step>:<queue>' and ',"","<queue>"]'
--
-- Reply nil when the lease is lost; nothing was done then. Else
--       {revision, '1' when there is more, {begun tags}, {refused tags}, {group keys whose chord is ready},
--        number of the first reserved, {number of list (from 1), envelope, ...}, how the first of them are begun: a letter each,
--        the paused queues as JSON or ''}
--> values
--> full
--> results
--> dead
--> outgoing
local held, kept, unacked, index = KEYS[2], KEYS[3], KEYS[5], KEYS[6]
if call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return false end
local owner, prefix, separator, here, there = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local dead = {letters = KEYS[10], by_queue = KEYS[11], expiry = KEYS[12], bytes = KEYS[13], id = KEYS[14]}
local at = 7

local function take()
  at = at + 1
  return ARGV[at]
end

local function take_count()
  return tonumber(take())
end

local function take_tags(count)
  local tags = {}
  for i = 1, count do tags[i] = ARGV[at + i] end
  at = at + count
  return tags
end

local function in_results(step)
  if there ~= '' then call('SELECT', there) end
  step()
  if there ~= '' then call('SELECT', here) end
end

-- Nothing of these stands anywhere any more.
local function forget(tags, has_unacked)
  many('HDEL', held, tags)
  many('HDEL', kept, tags)
  if has_unacked then
    many('HDEL', unacked, tags)
    many('ZREM', index, tags)
  end
end

local refused, begun, chords = {}, {}, {}
local revision, paused_queues = unpack(call('MGET', KEYS[8], KEYS[15]))
local paused = {}
if paused_queues then
  for _, queue in ipairs(cjson.decode(paused_queues)) do paused[queue] = true end
end

local count = take_count()
if count > 0 then many('HDEL', KEYS[4], take_tags(count)) end

-- settle -------------------------------------------------------------------------------------------------------------
count = take_count()
if count > 0 then
  local tags = take_tags(count)
  local records = gather('HMGET', held, tags)
  local accepted, seen, gone, ended, has_unacked = {}, {}, {}, {}, false
  for i = 1, count do
    local tag, record = tags[i], records[i]
    if string.byte(tag) == 61 and call('HEXISTS', KEYS[4], string.sub(tag, 2)) == 1 then
      record, ended[#ended + 1] = 'e', string.sub(tag, 2)
    end
    if record and not seen[tag] then
      seen[tag], accepted[i], gone[#gone + 1] = true, record, tag
      has_unacked = has_unacked or string.byte(record) ~= 101 -- begun early
    else
      refused[#refused + 1] = tag
    end
  end
  -- What may find the memory full comes first, so that a full server refuses the turn before anything is done.
  if ARGV[7] ~= '' then
    local freed = 0
    for i in pairs(accepted) do freed = freed + call('HSTRLEN', kept, tags[i]) end
    if freed >= tonumber(ARGV[7]) then despite_full(held) end
  end
  local sendings = take_count()
  for i = 1, sendings do
    local reason = misfit(ARGV[at + 5 * i - 3], ARGV[at + 5 * i - 2])
    if reason then return redis.error_reply(reason) end
  end
  for _ = 1, sendings do
    local i, kind, key, a, value = take_count(), take(), take(), take(), take()
    if accepted[i] then send(kind, key, a, value, KEYS[7]) end
  end
  for _ = 1, take_count() do
    local i, key, value = take_count(), take(), take()
    if accepted[i] then call('HSET', KEYS[4], key, value) end
  end
  local writes = take_count()
  if writes > 0 then
    in_results(function()
      for _ = 1, writes do
        local i, key, payload, ttl = take_count(), take(), take(), take()
        if accepted[i] then write_result(key, payload, ttl) end
      end
    end)
  end
  many('HDEL', KEYS[4], ended)
  local starts = take_count()
  if starts > 0 then
    in_results(function()
      for _ = 1, starts do
        local i, base, size, ttl = take_count(), take(), take(), take()
        if accepted[i] then set_size(base, size, ttl) end
      end
    end)
  end
  local counted, claims = {}, {}
  for i = 1, take_count() do
    counted[i] = take_chord(take)
    counted[i].key, counted[i].value = take(), take()
  end
  local parts = take_count()
  if parts > 0 then
    in_results(function()
      for position = 1, parts do
        local i, number, member, score, payload = take_count(), take_count(), take(), take(), take()
        if accepted[i] then add_part(counted[number], position, member, score, payload) end
      end
      for _, chord in ipairs(completed(counted)) do
        chords[#chords + 1] = chord.base
        if chord.key ~= '' then
          claims[#claims + 1] = chord.key
          claims[#claims + 1] = chord.value
        end
      end
    end)
    many('HSET', KEYS[4], claims)
  end
  local ends = take_count()
  if ends > 0 then
    in_results(function()
      for _ = 1, ends do
        local i, base, remembered = take_count(), take(), take()
        if accepted[i] then end_chord(base, remembered) end
      end
    end)
  end
  for _ = 1, take_count() do
    local i, fate, value, max_bytes, ends_at, now = take_count(), take(), take(), take(), take(), take()
    if accepted[i] then
      local _, step, queue = parts_of(accepted[i])
      local envelope = call('HGET', kept, tags[i])
      if fate == 'D' then
        keep_letter(dead, queue, value, envelope, max_bytes, ends_at, now)
      elseif still_there(index, {tags[i]}, {accepted[i]})[1] then
        local list = prefix .. queue .. (step == '0' and '' or separator .. step)
        call('LPUSH', list, value ~= '' and value or envelope)
      end
    end
  end
  forget(gone, has_unacked)
end

-- delay --------------------------------------------------------------------------------------------------------------
count = take_count()
if count > 0 then
  despite_full(held)
  for _ = 1, count do
    local tag, due = take(), take()
    local record = call('HGET', held, tag)
    local standing, step, queue = parts_of(record or ' 0:')
    if record and still_there(index, {tag}, {record})[1] then
      local number = string.format('%016d:', call('INCR', KEYS[7]))
      call('ZADD', KEYS[9] .. queue, due, number .. step .. ':' .. call('HGET', kept, tag))
    else
      refused[#refused + 1] = tag
    end
    if record then forget({tag}, true) end
  end
end

-- begin --------------------------------------------------------------------------------------------------------------
count = take_count()
if count > 0 then
  local tags = take_tags(count)
  local letters = take()
  local records = gather('HMGET', held, tags)
  local there = still_there(index, tags, records)
  local marks, leaves, gone = {}, {}, {}
  for i = 1, count do
    local tag, record, letter = tags[i], records[i], string.sub(letters, i, i)
    local standing = record and string.sub(record, 1, 1)
    if standing == 'e' or standing == 'l' then
      begun[#begun + 1] = tag
    elseif standing and there[i] and paused_queues and paused[select(3, parts_of(record))] then
      -- It stays reserved: whoever holds it gives it back.
    elseif standing and there[i] then
      begun[#begun + 1] = tag
      marks[#marks + 1] = tag
      marks[#marks + 1] = letter .. string.sub(record, 2)
      if letter == 'e' then
        leaves[#leaves + 1] = tag
      elseif standing == 'q' then
        -- The caller could read what the look below could not, so Kombu can too.
        local _, _, queue = parts_of(record)
        call('HSET', unacked, tag, '[' .. call('HGET', kept, tag) .. ',"",' .. cjson.encode(queue) .. ']')
        call('ZADD', index, call('TIME')[1], tag)
      end
    else
      refused[#refused + 1] = tag
      if standing then gone[#gone + 1] = tag end
    end
  end
  despite_full(held)
  many('HSET', held, marks)
  many('HDEL', unacked, leaves)
  many('ZREM', index, leaves)
  forget(gone, false)
end

-- reserve ------------------------------------------------------------------------------------------------------------
local usual_mark, others, costs, budget, most = take(), {}, {}, 0, 0
if usual_mark ~= '' then
  for _ = 1, take_count() do others[take()] = true end
  budget, most = take_count(), take_count()
  for _ = 1, take_count() do
    local task = take()
    costs[task] = take_count()
  end
end

-- The task of a message, nil when its name does not stand where every producer writes it. A body is text inside of text here,
-- its quotes are escaped: it cannot hold what is looked for.
local function task_of(item)
  local from = string.find(item, '"headers"', 1, true)
  return from and string.match(item, '^"headers": ?{"lang": ?"py", ?"task": ?"([^"\\]+)"', from)
end

local wanted = take_count()
local reserved, more, first, marks = {}, '0', 0, ''
if wanted > 0 then
  local lists = #KEYS - 15
  local missing = wanted
  local function may_take(list)
    return not paused_queues or not paused[string.match(ARGV[at + 2 * list - 1], '^%d+:(.*)$')]
  end
  for list = 1, lists do
    local items = may_take(list) and redis.pcall('RPOP', KEYS[15 + list], missing)
    if items and items.err then
      -- A key of another program. A script that fails is not undone: what was popped before is handed out first.
      local kind = call('TYPE', KEYS[15 + list]).ok
      if #reserved == 0 then
        return kind == 'list' and items or redis.error_reply('WRONGTYPE ' .. KEYS[15 + list] .. ' is no queue but a ' .. kind)
      end
      break
    elseif items then
      missing = missing - #items
      for _, item in ipairs(items) do
        reserved[#reserved + 1] = list
        reserved[#reserved + 1] = item
      end
      if missing == 0 then
        local open = {}
        for left = list, lists do
          if may_take(left) then open[#open + 1] = KEYS[15 + left] end
        end
        if call('EXISTS', unpack(open)) > 0 then more = '1' end
        break
      end
    end
  end
  if #reserved > 0 then
    local taken = #reserved / 2
    first = call('INCRBY', KEYS[7], taken) - taken + 1
    local now = call('TIME')[1]
    local records, envelopes, stands, scores = {}, {}, {}, {}
    local beginning, spent = usual_mark ~= '', 0
    for i = 1, #reserved, 2 do
      local list, item = reserved[i], reserved[i + 1]
      local tag = owner .. ':' .. (first + (i - 1) / 2)
      local mark = 'r'
      -- One entry of `unacked` that is no JSON stops Celery's restore for everybody. Envelopes end in two maps; what ends
      -- otherwise is worth a real look. What slips through is moved out as soon as the caller has failed to decode it.
      if (string.sub(item, 1, 2) == '{"' and string.sub(item, -2) == '}}') or pcall(cjson.decode, item) then
        if beginning then
          local task = task_of(item)
          local cost = task and costs[task]
          if cost and string.find(item, '"redelivered"', 1, true) then cost = nil end
          spent = spent + (cost or 0)
          if task and #marks < most and (i == 1 or (cost and spent <= budget)) then
            mark = usual_mark
            if others[task] then mark = usual_mark == 'e' and 'l' or 'e' end
            marks = marks .. mark
            beginning = cost
          else
            beginning = false
          end
        end
        if mark ~= 'e' then
          stands[#stands + 1] = tag
          stands[#stands + 1] = '[' .. item .. ARGV[at + 2 * list]
          scores[#scores + 1] = now
          scores[#scores + 1] = tag
        end
      else
        mark, beginning = 'q', false
      end
      envelopes[#envelopes + 1] = tag
      envelopes[#envelopes + 1] = item
      records[#records + 1] = tag
      records[#records + 1] = mark .. ARGV[at + 2 * list - 1]
    end
    many('HSET', unacked, stands)
    many('ZADD', index, scores)
    many('HSET', kept, envelopes)
    many('HSET', held, records)
  end
end

return {tonumber(revision or 0), more, begun, refused, chords, first, reserved, marks, paused_queues or ''}
