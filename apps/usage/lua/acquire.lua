-- Take requests, tokens and a concurrency slot together, or nothing at all.
--
-- KEYS: first the windows (hashes), then the slots (sorted sets: lease -> the millisecond it dies).
-- ARGV: lease, lease milliseconds, number of windows,
--       per window: limit, window seconds, bucket seconds, amount, 1 when it is the one headers speak of,
--       per slot set: limit.
-- Answers {1, headers…, buckets…} or {0, index of the refusing key, wait in ms, headers…};
--       headers = limit, remaining, reset (Unix s) of the tightest request window, limit -1 when there is none.
--
-- A window is a hash: `total`, `head` (the oldest bucket that may be there) and a field per bucket. See
-- apps/core/ratelimit.py for what a bucket is.

local clock = redis.call('TIME')
local now = tonumber(clock[1])
local now_ms = now * 1000 + math.floor(tonumber(clock[2]) / 1000)
local lease, lease_ms, windows = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function expire(key, oldest)
  local state = redis.call('HMGET', key, 'total', 'head')
  local total, head = tonumber(state[1] or 0), tonumber(state[2] or 0)
  if not state[2] then redis.call('HSET', key, 'head', oldest) end
  if not state[2] or head >= oldest then return total end
  if total == 0 or oldest - head > 100 then
    -- Nothing alive can be older than the window: start afresh instead of walking the gap.
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
      local bucket = tonumber(fields[i])
      if bucket and bucket < oldest then
        total = total - tonumber(fields[i + 1])
        redis.call('HDEL', key, fields[i])
      end
    end
  else
    for bucket = head, oldest - 1 do
      local count = redis.call('HGET', key, bucket)
      if count then
        total = total - tonumber(count)
        redis.call('HDEL', key, bucket)
      end
    end
  end
  redis.call('HSET', key, 'total', total, 'head', oldest)
  return total
end

local function wait_ms(key, excess, kept, size)
  local fields, counts, buckets = redis.call('HGETALL', key), {}, {}
  for i = 1, #fields, 2 do
    local bucket = tonumber(fields[i])
    if bucket then
      buckets[#buckets + 1] = bucket
      counts[bucket] = tonumber(fields[i + 1])
    end
  end
  table.sort(buckets)
  for _, bucket in ipairs(buckets) do
    excess = excess - counts[bucket]
    if excess <= 0 then return (bucket + kept) * size * 1000 - now_ms end
  end
  return size * 1000
end

local tight_limit, tight_left, tight_reset, tight_share = -1, 0, 0, 2
local refused, refused_wait = 0, 0
local plan = {}

for i = 1, windows do
  local at = 3 + (i - 1) * 5
  local limit, window = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local size, amount, shown = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5] == '1'
  local kept = math.floor(window / size) + 1
  local bucket = math.floor(now / size)
  local total = expire(KEYS[i], bucket - kept + 1)
  if amount > limit then amount = limit end
  local excess = total + amount - limit
  local wait = 0
  if excess > 0 then
    wait = wait_ms(KEYS[i], excess, kept, size)
    if wait > refused_wait then refused, refused_wait = i, wait end
  end
  plan[i] = {bucket, amount, (kept + 1) * size}
  if shown then
    local left = limit - total - (excess > 0 and 0 or amount)
    if left < 0 then left = 0 end
    if wait > 0 or left / limit < tight_share then
      tight_limit, tight_left, tight_share = limit, left, (wait > 0 and -1 or left / limit)
      tight_reset = wait > 0 and math.ceil((now_ms + wait) / 1000) or (bucket + kept) * size
    end
  end
end

for i = windows + 1, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now_ms)
  if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[3 + windows * 5 + i - windows]) and refused == 0 then
    refused, refused_wait = i, 1000
  end
end

if refused > 0 then
  return {0, refused, refused_wait, tight_limit, tight_left, tight_reset}
end

local answer = {1, tight_limit, tight_left, tight_reset}
for i = 1, windows do
  local bucket, amount, ttl = plan[i][1], plan[i][2], plan[i][3]
  redis.call('HINCRBY', KEYS[i], bucket, amount)
  redis.call('HINCRBY', KEYS[i], 'total', amount)
  redis.call('EXPIRE', KEYS[i], ttl)
  answer[#answer + 1] = bucket
end
for i = windows + 1, #KEYS do
  redis.call('ZADD', KEYS[i], now_ms + lease_ms, lease)
  redis.call('PEXPIRE', KEYS[i], lease_ms)
end
return answer
