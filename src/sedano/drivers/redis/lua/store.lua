-- Write result records and count chord parts.
-- KEYS  none: the keys are among the arguments, as many as there are results
-- ARGV  n, then n times: key, payload, ttl in ms or ''
--       s, then s times: group key, size, ttl in ms
--       '1' when an earlier try may have been applied
--       m, then m times: group key, member, index, payload, ttl in ms, '1' when ordered, claim in s
-- Reply the group keys whose chord is ready, claimed by this step
--> results
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
for _ = 1, tonumber(take()) do
  local key, payload, ttl = take(), take(), take()
  write_result(key, payload, ttl)
end
for _ = 1, tonumber(take()) do
  local base, size, ttl = take(), take(), take()
  set_size(base, size, ttl)
end
local again, chords = take(), {}
for _ = 1, tonumber(take()) do
  local base, member, score, payload, ttl, ordered, claim = take(), take(), take(), take(), take(), take(), take()
  if count_part(base, member, score, payload, ttl, ordered, claim, again) then chords[#chords + 1] = base end
end
return chords
