-- Shared: the entries called `names`, flat behind `reply`: name, due or '', definition, '<revision>:<state>'.
local function add_entries(reply, names, definitions, states, due)
  local bodies, marks, dues = gather('HMGET', definitions, names), gather('HMGET', states, names), gather('ZMSCORE', due, names)
  for i, name in ipairs(names) do
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = name, dues[i] or '', bodies[i], marks[i]
  end
  return reply
end
