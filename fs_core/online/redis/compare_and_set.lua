-- Keep each row unless the stored one is newer. KEYS: entities. ARGV[1]: for each row its length (4 bytes) and
-- collect_at (8 bytes, milliseconds, 0 for never), big-endian. ARGV[2]: the rows, one after the other.
-- Two arguments for a whole batch: packing and parsing one for each row would take longer than storing it.
-- Bytes 8..31 of a row are its order: three big-endian 64-bit words, compared from left to right.
-- They are compared as six 32-bit numbers: Lua's numbers don't hold 64 bits, and Lua's strings compare by locale.
local function newer(held, row)
  local h = { struct.unpack('>I4I4I4I4I4I4', held) }
  local r = { struct.unpack('>I4I4I4I4I4I4', string.sub(row, 9, 32)) }
  for i = 1, 6 do
    if h[i] ~= r[i] then return h[i] > r[i] end
  end
  return false
end

local lengths, rows = ARGV[1], ARGV[2]
local applied, from = 0, 1
for i, key in ipairs(KEYS) do
  local length, collect_at = struct.unpack('>I4I8', lengths, 12 * i - 11)
  local row = string.sub(rows, from, from + length - 1)
  from = from + length
  local held = redis.call('GETRANGE', key, 8, 31)
  if #held ~= 24 or not newer(held, row) then
    if collect_at == 0 then
      redis.call('SET', key, row)
    else
      redis.call('SET', key, row, 'PXAT', string.format('%.0f', collect_at))
    end
    applied = applied + 1
  end
end
return applied
