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
