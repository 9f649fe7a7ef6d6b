-- Keep each row unless the stored one is newer; with additions, only where the stored one is as they say.
-- KEYS: the rows' names; with additions then as many timelines' names.
-- ARGV[1]: for each row its length (4 bytes) and collect_at (8 bytes, milliseconds, 0 for never), big-endian.
-- ARGV[2]: the rows, one after the other. Two arguments for a whole batch: packing and parsing one for each row
-- would take longer than storing it.
-- ARGV[3]: for each row how long the stored one's order is (1 byte, 0 where there is none), that order (22 bytes), and
-- the length of what is added to its timeline (4 bytes). ARGV[4]: what is added, one after the other.
-- Bytes 4..25 of a row are its order: two big-endian 64-bit words and one of 48 bits, compared from left to right.
-- They are compared piece by piece: Lua's numbers don't hold 64 bits, and Lua's strings compare by locale.
local function set(key, row, collect_at, ...)
  if collect_at == 0 then return redis.call('SET', key, row, ...) end
  return redis.call('SET', key, row, 'PXAT', string.format('%.0f', collect_at), ...)
end

local function is_held_newer(held, row) -- without tables: they would cost more than comparing
  local h1, h2, h3, h4, h5, h6 = struct.unpack('>I4I4I4I4I4I2', held)
  local r1, r2, r3, r4, r5, r6 = struct.unpack('>I4I4I4I4I4I2', row, 5)
  if h1 ~= r1 then return h1 > r1 end
  if h2 ~= r2 then return h2 > r2 end
  if h3 ~= r3 then return h3 > r3 end
  if h4 ~= r4 then return h4 > r4 end
  if h5 ~= r5 then return h5 > r5 end
  return h6 > r6
end

local lengths, rows, heads, additions = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local count = heads and #KEYS / 2 or #KEYS
local applied, expected, from, start = 0, 0, 1, 1
local absent = true -- whether the row before was the first of its name; then this one is likely to be, too

local function add(i) -- to a row's timeline, if the stored row is as expected; return whether it is
  local size, order, length = struct.unpack('>Bc22I4', heads, 27 * i - 26)
  start = start + length
  if redis.call('GETRANGE', KEYS[i], 4, 25) ~= string.sub(order, 1, size) then return false end
  if length > 0 then redis.call('APPEND', KEYS[count + i], string.sub(additions, start - length, start - 1)) end
  expected = expected + 1
  return true
end

for i = 1, count do
  local key = KEYS[i]
  local length, collect_at = struct.unpack('>I4I8', lengths, 12 * i - 11)
  local row = string.sub(rows, from, from + length - 1)
  from = from + length
  if not heads or add(i) then
    if absent and set(key, row, collect_at, 'NX') then
      applied = applied + 1
    else
      local held = redis.call('GETRANGE', key, 4, 25)
      absent = held == ''
      if #held ~= 22 or not is_held_newer(held, row) then
        set(key, row, collect_at)
        applied = applied + 1
      end
    end
  end
end
return heads and expected or applied
