-- Keep each row unless the stored one is newer. KEYS: entities. ARGV: row, collect_at (ms, '' for never), ...
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

local applied = 0
for i, key in ipairs(KEYS) do
  local row, collect_at = ARGV[2 * i - 1], ARGV[2 * i]
  local held = redis.call('GETRANGE', key, 8, 31)
  if #held ~= 24 or not newer(held, row) then
    if collect_at == '' then
      redis.call('SET', key, row)
    else
      redis.call('SET', key, row, 'PXAT', collect_at)
    end
    applied = applied + 1
  end
end
return applied
