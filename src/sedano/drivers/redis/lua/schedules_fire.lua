-- Write ticks: each whole, and only of an entry that stands where it was read. All is looked at before anything is written.
-- KEYS  1 states  2 due  3 counters  4 ran  5 what stands before a name in the key of its runs
--       6 sequence  7 workflows  8 workflow_ends  9 workflow_bytes  10 the lock, when there is a fence
-- ARGV  1 owner  2 term  3 how many runs of an entry stay  4 now, Unix seconds
--       then for each tick: name, revision, due, next due or '', state; and three times a count n followed by n of these:
--       runs; records of workflows (id, ends at, max bytes, record); messages (four arguments, see _outgoing).
--       due '': asked for by hand, the entry does not step
-- Reply nil when the fence does not hold; nothing was done then. Else a letter for each tick: y written, n not
--> values
--> outgoing
--> workflows
if KEYS[10] then
  local owner, term = unpack(call('HMGET', KEYS[10], 'owner', 'term'))
  if owner ~= ARGV[1] or term ~= ARGV[2] then return false end
end
local keep = tonumber(ARGV[3])
local kept = {records = KEYS[7], ends = KEYS[8], bytes = KEYS[9]}

local at = 4
local function take()
  at = at + 1
  return ARGV[at]
end

-- {first, last} of the next counted ones, of so many arguments each.
local function span(width)
  local count = width * tonumber(take())
  at = at + count
  return {at - count + 1, at}
end

-- Send all of these spans {first, last} of ARGV; what goes to one list in one command. A list's life begins when it is there.
local function send_spans(spans, sequence)
  local lists, lives = {}, {}
  for _, span in ipairs(spans) do
    for i = span[1], span[2], 4 do
      local kind, key = ARGV[i], ARGV[i + 1]
      if kind == 'L' then
        local list = lists[key]
        if not list then
          list = {}
          lists[key] = list
        end
        list[#list + 1] = ARGV[i + 3]
      elseif kind == 'E' then
        lives[key] = ARGV[i + 2]
      else
        send(kind, key, ARGV[i + 2], ARGV[i + 3], sequence)
      end
    end
  end
  for key, values in pairs(lists) do many('LPUSH', key, values) end
  for key, life in pairs(lives) do redis.call('PEXPIRE', key, life) end
end

local ticks, names = {}, {}
while at < #ARGV do
  local name, revision, due, next_due, state = take(), take(), take(), take(), take()
  local runs, records, messages = span(1), span(4), span(4)
  ticks[#ticks + 1] = {
    name = name, revision = revision, due = due, next_due = next_due, state = state,
    runs = runs, records = records, messages = messages
  }
  names[#names + 1] = name
end

local marks, dues = gather('HMGET', KEYS[1], names), gather('ZMSCORE', KEYS[2], names)
local written, answer, runs = {}, {}, 0
local states, steps, ends, messages = {}, {}, {}, {}
for i, tick in ipairs(ticks) do
  local stands = marks[i] and (tick.due == ''
    or (string.match(marks[i], '^%d+') == tick.revision and dues[i] and tonumber(dues[i]) == tonumber(tick.due)))
  answer[i] = stands and 'y' or 'n'
  if stands then
    for j = tick.messages[1], tick.messages[2], 4 do
      local reason = misfit(ARGV[j], ARGV[j + 1])
      if reason then return redis.error_reply(reason) end
    end
    written[#written + 1], messages[#messages + 1] = tick, tick.messages
    runs = runs + tick.runs[2] - tick.runs[1] + 1
    if tick.due ~= '' then
      states[#states + 1], states[#states + 2] = tick.name, tick.revision .. ':' .. tick.state
      if tick.next_due == '' then
        ends[#ends + 1] = tick.name
      else
        steps[#steps + 1], steps[#steps + 2] = tick.next_due, tick.name
      end
    end
  end
end
if #written == 0 then return table.concat(answer) end

-- The first write is one that a full server refuses.
local decided = call('HINCRBY', KEYS[3], 'decided', runs) - runs
many('HSET', KEYS[1], states)
many('ZADD', KEYS[2], steps)
many('ZREM', KEYS[2], ends)

local ran = {}
for _, tick in ipairs(written) do
  local first, last = tick.runs[1], tick.runs[2]
  if first <= last then
    local list, length = KEYS[5] .. tick.name
    for j = first, last do
      decided = decided + 1
      length = call('LPUSH', list, decided .. ':' .. ARGV[j])
    end
    if keep == 0 then
      call('UNLINK', list)
      call('ZREM', KEYS[4], tick.name)
    else
      ran[#ran + 1], ran[#ran + 2] = decided, tick.name
      if length > keep then call('LTRIM', list, 0, keep - 1) end
    end
  end
end
many('ZADD', KEYS[4], ran)
send_spans(messages, KEYS[6])

local is_pruned = false
for _, tick in ipairs(written) do
  for j = tick.records[1], tick.records[2], 4 do
    if not is_pruned then drop_ended(kept, ARGV[4]) end
    is_pruned = true
    keep_record(kept, ARGV[j], ARGV[j + 1], tonumber(ARGV[j + 2]), ARGV[j + 3])
  end
end
return table.concat(answer)
