-- Publish messages that a plain LPUSH cannot.
-- KEYS  1 sequence
-- ARGV  four per message, see _outgoing
-- Reply  nil
--> outgoing
for i = 1, #ARGV, 4 do
  local reason = misfit(ARGV[i], ARGV[i + 1])
  if reason then return redis.error_reply(reason) end
end
for i = 1, #ARGV, 4 do
  send(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], KEYS[1])
end
