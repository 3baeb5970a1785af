-- Publish messages of which some bring the record of a workflow.
-- KEYS  1 sequence  2 workflows  3 workflow_ends  4 workflow_bytes
-- ARGV  1 now, Unix seconds  2 how many records  then for each: id, ends at, max bytes, record
--       then the messages, four arguments each, see _outgoing
-- Reply  nil
--> outgoing
--> workflows
local notes = tonumber(ARGV[2])
local first = 3 + 4 * notes
for i = first, #ARGV, 4 do
  local reason = misfit(ARGV[i], ARGV[i + 1])
  if reason then return redis.error_reply(reason) end
end
for i = first, #ARGV, 4 do
  send(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], KEYS[1])
end

local kept = {records = KEYS[2], ends = KEYS[3], bytes = KEYS[4]}
drop_ended(kept, ARGV[1])
for i = 3, first - 1, 4 do keep_record(kept, ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]) end
