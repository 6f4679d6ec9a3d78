-- Changes a bucket, all of it or nothing.
--
-- KEYS: the values (a hash: key -> version of 16 digits, then the value), their names in order (a sorted set), the sizes of the app's buckets (a
-- hash), the last version that was given, a place to add numbers in.
-- ARGV: what to do, the bucket, its limit in bytes; then for `set` any number of key, `set` or `delete`, value; for `swap` the key, the version
-- that it must have (none: empty), the value; for `increment` the key and what is added.
-- Answers one of: done and the sum; stale and what is stored; large and the bytes there would be; range; number.

local values, names, sizes, last, place = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local act, bucket, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local VERSION = 16
-- What a key costs beside itself and its value.
local OVERHEAD = 32

local changes, sum = {}, false
if act == 'set' then
  for at = 4, #ARGV, 3 do
    changes[#changes + 1] = { key = ARGV[at], value = ARGV[at + 1] == 'set' and ARGV[at + 2] }
  end
else
  local key = ARGV[4]
  local stored = redis.call('HGET', values, key)
  if act == 'swap' then
    if (stored and string.sub(stored, 1, VERSION) or '') ~= ARGV[5] then
      return { 'stale', stored }
    end
    changes[1] = { key = key, value = ARGV[6] }
  else
    -- Lua's numbers are not exact beyond 2^53; those of Redis are.
    redis.call('SET', place, stored and string.sub(stored, VERSION + 1) or '0')
    local added = redis.pcall('INCRBY', place, ARGV[5])
    sum = redis.call('GET', place)
    redis.call('DEL', place)
    if type(added) == 'table' and added.err then
      return { string.find(added.err, 'overflow', 1, true) and 'range' or 'number', false }
    end
    changes[1] = { key = key, value = sum }
  end
end

-- Of several changes of one key the last counts.
local new, order = {}, {}
for _, change in ipairs(changes) do
  if new[change.key] == nil then
    order[#order + 1] = change.key
  end
  new[change.key] = change.value
end
local after, grows = tonumber(redis.call('HGET', sizes, bucket) or '0'), false
for _, key in ipairs(order) do
  local stored = redis.call('HSTRLEN', values, key)
  local before = stored > 0 and #key + stored - VERSION + OVERHEAD or 0
  local now = new[key] and #key + #new[key] + OVERHEAD or 0
  grows = grows or now > before
  after = math.max(after - before, 0) + now
end
-- What only frees space always works, so that a full bucket can be emptied.
if after > limit and grows then
  return { 'large', string.format('%.0f', after) }
end

for _, key in ipairs(order) do
  local value = new[key]
  if value then
    redis.call('HSET', values, key, string.format('%016.0f', redis.call('INCR', last)) .. value)
    redis.call('ZADD', names, 0, key)
  else
    redis.call('HDEL', values, key)
    redis.call('ZREM', names, key)
  end
end
redis.call('HSET', sizes, bucket, string.format('%.0f', after))
return { 'done', sum }
