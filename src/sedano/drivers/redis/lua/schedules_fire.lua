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

-- Where the next counted ones begin and end, of so many arguments each.
local function span(width)
  local count = width * tonumber(take())
  at = at + count
  return at - count + 1, at
end

local ticks, names = {}, {}
while at < #ARGV do
  local tick = {name = take(), revision = take(), due = take(), next_due = take(), state = take()}
  tick.first_run, tick.last_run = span(1)
  tick.first_record, tick.last_record = span(4)
  tick.first_message, tick.last_message = span(4)
  ticks[#ticks + 1], names[#names + 1] = tick, tick.name
end

local marks, dues = gather('HMGET', KEYS[1], names), gather('ZMSCORE', KEYS[2], names)
local written, states, steps, ends, answer = {}, {}, {}, {}, {}
for i, tick in ipairs(ticks) do
  local stands = marks[i] and (tick.due == ''
    or (string.match(marks[i], '^%d+') == tick.revision and dues[i] and tonumber(dues[i]) == tonumber(tick.due)))
  answer[i] = stands and 'y' or 'n'
  if stands then
    written[#written + 1] = tick
    for j = tick.first_message, tick.last_message, 4 do
      local reason = misfit(ARGV[j], ARGV[j + 1])
      if reason then return redis.error_reply(reason) end
    end
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

local function add_runs(tick)
  local count = tick.last_run - tick.first_run + 1
  if count == 0 then return end
  local decided, list, length = call('HINCRBY', KEYS[3], 'decided', count), KEYS[5] .. tick.name
  for j = tick.first_run, tick.last_run do
    length = call('LPUSH', list, (decided - tick.last_run + j) .. ':' .. ARGV[j])
  end
  call('ZADD', KEYS[4], decided, tick.name)
  if keep == 0 then
    call('UNLINK', list)
  elseif length > keep then
    call('LTRIM', list, 0, keep - 1)
  end
end

-- The first write is one that a full server refuses.
many('HSET', KEYS[1], states)
many('ZADD', KEYS[2], steps)
many('ZREM', KEYS[2], ends)
local is_pruned = false
for _, tick in ipairs(written) do
  add_runs(tick)
  for j = tick.first_message, tick.last_message, 4 do send(ARGV[j], ARGV[j + 1], ARGV[j + 2], ARGV[j + 3], KEYS[6]) end
  for j = tick.first_record, tick.last_record, 4 do
    if not is_pruned then drop_ended(kept, ARGV[4]) end
    is_pruned = true
    keep_record(kept, ARGV[j], ARGV[j + 1], tonumber(ARGV[j + 2]), ARGV[j + 3])
  end
end
return table.concat(answer)
