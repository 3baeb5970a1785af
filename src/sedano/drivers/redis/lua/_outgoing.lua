-- Shared: messages on their way out. Each is four arguments: kind, key, a, value
--   L list      ''      value            to the tail of a ready list
--   P channel   ''      value            to a fanout exchange
--   D zset      due     <step>:value     to a schedule
--   S set       ''      value            to the tasks of which calls are parked
--   E list      ms      ''               the life of an expiring queue's list

-- Why a message cannot go to `key`, or nil. A script that fails in the middle is not undone: ask for all before the first goes.
local WANTED = {L = 'list', D = 'zset', S = 'set'}
local fit = {}
local function misfit(kind, key)
  if not WANTED[kind] or fit[key] then return nil end
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= WANTED[kind] then return 'WRONGTYPE ' .. key .. ' is no queue but a ' .. found end
  fit[key] = true
end

local function send(kind, key, a, value, sequence)
  if kind == 'L' then
    redis.call('LPUSH', key, value)
  elseif kind == 'D' then
    redis.call('ZADD', key, a, string.format('%016d:', redis.call('INCR', sequence)) .. value)
  elseif kind == 'S' then
    redis.call('SADD', key, value)
  elseif kind == 'P' then
    redis.call('PUBLISH', key, value)
  else
    redis.call('PEXPIRE', key, a)
  end
end
