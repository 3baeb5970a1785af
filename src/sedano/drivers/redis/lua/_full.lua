-- Shared: a full server (maxmemory) refuses a growing command only while the script has written nothing. What keeps leases
-- alive or takes work off the server therefore begins with a write that changes nothing.
local function despite_full(key)
  redis.call('HDEL', key, '')
end
