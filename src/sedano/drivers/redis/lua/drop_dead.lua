-- Drop dead letters.
-- KEYS  1 letters  2 prefix of dead.  3 dead_expiry  4 dead_bytes
-- ARGV  ids
-- Reply how many there were
--> dead
local count = 0
for _, id in ipairs(ARGV) do
  count = count + drop_letter({letters = KEYS[1], by_queue = KEYS[2], expiry = KEYS[3], bytes = KEYS[4]}, id)
end
return count
