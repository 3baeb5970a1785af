-- Shared: values, lists and long argument lists.
local call = redis.call
local PER_CALL = 4000 -- Lua's stack holds some 8,000 arguments; an even number keeps pairs together

local function many(command, key, items)
  for i = 1, #items, PER_CALL do
    call(command, key, unpack(items, i, math.min(i + PER_CALL - 1, #items)))
  end
end

local function gather(command, key, fields)
  if #fields == 0 then return {} end
  if #fields <= PER_CALL then return call(command, key, unpack(fields)) end
  local all = {}
  for i = 1, #fields, PER_CALL do
    for _, value in ipairs(call(command, key, unpack(fields, i, math.min(i + PER_CALL - 1, #fields)))) do
      all[#all + 1] = value
    end
  end
  return all
end

-- Whether each of `tags` (of these records) may still be used: what stands in `unacked` and has left it was put back by a
-- Celery worker and is somebody else's now. Its restore takes entry and index out in one step, and scores are cheap to read.
local function still_there(index, tags, records)
  local scores = gather('ZMSCORE', index, tags)
  local there = {}
  for i, record in ipairs(records) do
    local standing = record and string.byte(record)
    there[i] = standing == 101 or standing == 113 or (standing ~= nil and scores[i] ~= false) -- e, q
  end
  return there
end

-- standing, step, queue of a held record
local function parts_of(record)
  return string.match(record, '^(.)(%d+):(.*)$')
end

local function number_of(tag)
  return tonumber(string.match(tag, ':(%d+)$'))
end
