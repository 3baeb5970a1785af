-- Shared: take the earliest `limit` entries with due <= `latest` out of the schedules of queues, by due and arrival.
-- `schedules` are the keys. Reply a list of {queue number, step, envelope}.
local function take_due(schedules, latest, limit)
  local entries = {}
  for number, schedule in ipairs(schedules) do
    local found = redis.call('ZRANGE', schedule, '-inf', latest, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
    for i = 1, #found, 2 do
      entries[#entries + 1] = {schedule = number, member = found[i], due = tonumber(found[i + 1])}
    end
  end
  table.sort(entries, function(one, other)
    if one.due ~= other.due then return one.due < other.due end
    return one.member < other.member
  end)
  local taken = {}
  for i = 1, math.min(limit, #entries) do
    local entry = entries[i]
    local step, head = string.match(entry.member, '^%d+:(%d+):()')
    redis.call('ZREM', schedules[entry.schedule], entry.member)
    taken[i] = {entry.schedule, step, string.sub(entry.member, head)}
  end
  return taken
end

-- Shared: as `take_due`, of the calls parked in `queues`; of the tasks in `only` (name -> true), when it is given. `own` is
-- what stands before our keys. Also the time of the first that stays, or nil. Reply as above, {queue number, step, envelope}.
local function take_parked(own, queues, latest, limit, only)
  local schedules, owners, tasks = {}, {}, {}
  for number, queue in ipairs(queues) do
    for _, task in ipairs(redis.call('SMEMBERS', own .. 'parked_tasks.' .. queue)) do
      if not only or only[task] then
        local n = #schedules + 1
        schedules[n], owners[n], tasks[n] = own .. 'parked.' .. #queue .. ':' .. queue .. ':' .. task, number, task
      end
    end
  end
  local taken = take_due(schedules, latest, limit)
  for _, one in ipairs(taken) do one[1] = owners[one[1]] end
  local next_due
  for n, schedule in ipairs(schedules) do
    local first = redis.call('ZRANGE', schedule, 0, 0, 'WITHSCORES')[2]
    if not first then
      redis.call('SREM', own .. 'parked_tasks.' .. queues[owners[n]], tasks[n])
    elseif not next_due or tonumber(first) < tonumber(next_due) then
      next_due = first
    end
  end
  return taken, next_due
end
