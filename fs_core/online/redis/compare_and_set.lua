-- Keep each row unless the stored one is newer, and merge it into its entity's timeline if that is wanted.
-- KEYS: the rows' names; with a third argument then as many timelines' names.
-- ARGV[1]: for each row its length (4 bytes) and collect_at (8 bytes, milliseconds, 0 for never), big-endian.
-- ARGV[2]: the rows, one after the other. Two arguments for a whole batch: packing and parsing one for each row
-- would take longer than storing it.
-- ARGV[3]: horizon (8 bytes), keep (8 bytes, microseconds), complete (1 byte): see fs_core/online/timeline.py.
-- Bytes 4..25 of a row are its order: two big-endian 64-bit words and one of 48 bits, compared from left to right;
-- the second says from when the row is available. They are compared piece by piece: Lua's numbers don't hold 64 bits,
-- and Lua's strings compare by locale.
local function order(bytes, from)
  return { struct.unpack('>I4I4I4I4I4I2', bytes, from) }
end

local function newer(h, r)
  for i = 1, 6 do
    if h[i] ~= r[i] then return h[i] > r[i] end
  end
  return false
end

local function later(a, b) -- words of two 32-bit numbers
  if a[1] ~= b[1] then return a[1] > b[1] end
  return a[2] > b[2]
end

local function entry(row)
  local o = order(row, 5)
  return { row = row, order = o, available = { o[3], o[4] } }
end

-- Return the floor and the entries, nothing where the bytes make no sense.
local function parsed(timeline)
  if not timeline or #timeline < 20 then return nil end
  local high, low, flipped_high, flipped_low, count = struct.unpack('>I4I4I4I4I4', timeline)
  if high + flipped_high ~= 4294967295 or low + flipped_low ~= 4294967295 then return nil end
  local found, from = {}, 21
  while from + 3 <= #timeline do
    local length = struct.unpack('>I4', timeline, from)
    if length < 26 or from + 3 + length > #timeline then return nil end
    found[#found + 1] = entry(string.sub(timeline, from + 4, from + 3 + length))
    from = from + 4 + length
  end
  if #found ~= count or from ~= #timeline + 1 then return nil end
  return { high, low }, found
end

local horizon, keep, complete
if ARGV[3] then
  local high, low, micros, whole = struct.unpack('>I4I4I8B', ARGV[3])
  horizon, keep, complete = { high, low }, micros, whole == 1
end

local function merge(name, key, row)
  local new = entry(row)
  local floor, known = parsed(redis.call('GET', name))
  local head = floor and redis.call('GETRANGE', key, 4, 25)
  if head and #head == 22 then -- a writer that kept no timeline has brought the latest row: others may be missing, too
    local held, lacks = order(head, 1), true
    for _, e in ipairs(known) do lacks = lacks and newer(held, e.order) end
    if lacks then floor = nil end
  end
  if not floor then
    local latest = redis.call('GET', key)
    if latest and #latest >= 26 then
      known = { entry(latest) }
      floor = known[1].available
    else
      known, floor = {}, complete and horizon or new.available
    end
  end
  local base
  local all = { new }
  for _, e in ipairs(known) do
    if newer(e.order, new.order) or newer(new.order, e.order) then all[#all + 1] = e end
  end
  for _, e in ipairs(all) do
    if not later(e.available, horizon) and (not base or newer(e.order, base.order)) then base = e end
  end
  if later(horizon, floor) then floor = horizon end
  local parts, last, count = { '' }, 0, 0
  for _, e in ipairs(all) do
    if not base or not newer(base.order, e.order) then
      count = count + 1
      parts[#parts + 1] = struct.pack('>I4', #e.row)
      parts[#parts + 1] = e.row
      last = math.max(last, (e.available[1] - 2147483648) * 4294967296 + e.available[2])
    end
  end
  parts[1] = struct.pack('>I4I4I4I4I4', floor[1], floor[2], 4294967295 - floor[1], 4294967295 - floor[2], count)
  local collect_at = math.max(1, math.floor((last + keep) / 1000) + 60000)
  redis.call('SET', name, table.concat(parts), 'PXAT', string.format('%.0f', collect_at))
end

local function set(key, row, collect_at, ...)
  if collect_at == 0 then return redis.call('SET', key, row, ...) end
  return redis.call('SET', key, row, 'PXAT', string.format('%.0f', collect_at), ...)
end

local function is_held_newer(held, row) -- as `newer` does, without tables: they would cost more than comparing
  local h1, h2, h3, h4, h5, h6 = struct.unpack('>I4I4I4I4I4I2', held)
  local r1, r2, r3, r4, r5, r6 = struct.unpack('>I4I4I4I4I4I2', row, 5)
  if h1 ~= r1 then return h1 > r1 end
  if h2 ~= r2 then return h2 > r2 end
  if h3 ~= r3 then return h3 > r3 end
  if h4 ~= r4 then return h4 > r4 end
  if h5 ~= r5 then return h5 > r5 end
  return h6 > r6
end

local lengths, rows = ARGV[1], ARGV[2]
local count = horizon and #KEYS / 2 or #KEYS
local applied, from = 0, 1
local absent = true -- whether the row before was the first of its name; then this one is likely to be, too
for i = 1, count do
  local key = KEYS[i]
  local length, collect_at = struct.unpack('>I4I8', lengths, 12 * i - 11)
  local row = string.sub(rows, from, from + length - 1)
  from = from + length
  if horizon then merge(KEYS[count + i], key, row) end
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
return applied
