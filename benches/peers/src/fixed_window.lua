-- The guide's limiter, as one takes it to Redis: a window starts at its first admitted request, and
-- the key lives as long as the window. A refused request writes nothing.
--
-- KEYS[1]: the limiter. ARGV: requests, the window in ms.
-- Returns whether it is admitted (1 or 0), how many more are, and the rest of the window in ms.
local limit = tonumber(ARGV[1])
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count >= limit then
  return { 0, 0, redis.call('PTTL', KEYS[1]) }
end
count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { 1, limit - count, redis.call('PTTL', KEYS[1]) }
