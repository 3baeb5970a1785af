-- Write result records and count chord parts.
-- KEYS  none: the keys are among the arguments, as many as there are results
-- ARGV  n, then n times: key, payload, ttl in ms or ''
--       s, then s times: group key, size, ttl in ms
--       '1' when an earlier try may have been applied
--       c, then c times: group key, ttl in ms, '1' when ordered, claim in s
--       m, then m times: number of its chord, member, index, payload
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
local counted = {}
for i = 1, tonumber(take()) do counted[i] = take_chord(take) end
for i = 1, tonumber(take()) do
  local number, member, score, payload = take(), take(), take(), take()
  add_part(counted[tonumber(number)], i, member, score, payload)
end
for i, chord in ipairs(completed(counted, again)) do chords[i] = chord.base end
return chords
