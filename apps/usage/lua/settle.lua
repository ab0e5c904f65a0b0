-- Give the concurrency slots back and put token counts right once they are known.
--
-- KEYS: the token windows, then the slot sets.
-- ARGV: lease, number of windows, per window: difference (actual - reserved), bucket it was reserved in, bucket seconds.
-- More than reserved counts now; less is taken off where it was reserved, if that bucket still counts.

local now = tonumber(redis.call('TIME')[1])
local windows = tonumber(ARGV[2])

for i = 1, windows do
  local at = 2 + (i - 1) * 3
  local difference, bucket, size = tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
  if difference > 0 then
    bucket = math.floor(now / size)
  end
  if redis.call('HEXISTS', KEYS[i], bucket) == 1 or (difference > 0 and redis.call('EXISTS', KEYS[i]) == 1) then
    redis.call('HINCRBY', KEYS[i], bucket, difference)
    redis.call('HINCRBY', KEYS[i], 'total', difference)
  end
end

for i = windows + 1, #KEYS do
  redis.call('ZREM', KEYS[i], ARGV[1])
end
return 1
