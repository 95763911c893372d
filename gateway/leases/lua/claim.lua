-- pool cap owner wanted ttl recover slot-ref, then the slots that the owner knows of
local name, cap, owner, wanted, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local wait = recovering(ARGV[6], redis.call('GET', KEYS[1]))

-- Max-min fair shares in whole slots: ascending by what is wanted, each gets an equal part of what
-- is left, or less if that is all it wants.
local wanted_key = prefix .. 'wanted:' .. name
redis.call('HSET', wanted_key, owner, wanted .. ' ' .. int(now + ttl))
redis.call('PEXPIRE', wanted_key, ttl)
local demands, told = {}, redis.call('HGETALL', wanted_key)
for i = 1, #told, 2 do
  local slots, expiry = string.match(told[i + 1], '^(%d+) (%d+)$')
  if tonumber(expiry) > now then
    demands[#demands + 1] = {owner = told[i], wanted = tonumber(slots)}
  else
    redis.call('HDEL', wanted_key, told[i])
  end
end
table.sort(demands, function(a, b)
  if a.wanted ~= b.wanted then return a.wanted < b.wanted end
  return a.owner < b.owner
end)
local target, left = tonumber(wanted), cap
if cap > 0 then
  for i, demand in ipairs(demands) do
    local share = math.min(demand.wanted, math.floor(left / (#demands - i + 1)))
    left = left - share
    if demand.owner == owner then target = share end
  end
end

purge(name)
local pool = look(name)
local slots, occupied = {}, 0
local function take(session)
  enter({name}, session, session .. '|' .. ARGV[7], now + ttl)
  redis.call('SET', session_key(session), name, 'PX', ttl)
  slots[#slots + 1] = session
end
local function is_gone(session) return redis.call('GET', gone_key(session .. '|' .. ARGV[7])) end
local mine = {}
for session in pairs(pool.present) do
  if string.sub(session, 1, #owner + 1) == owner .. ':' then mine[#mine + 1] = session end
end
for _, session in ipairs(mine) do
  occupied = occupied + 1
  if not is_gone(session) then take(session) end
end
for i = 8, wait > 0 and #ARGV or 0 do
  local session = ARGV[i]
  local room = cap == 0 or pool.count < cap
  if room and not pool.present[session] and not is_gone(session) then
    occupied = occupied + 1
    take(session)
  end
end
local number = 0
while wait == 0 and occupied < target and (cap == 0 or pool.count < cap) do
  number = number + 1
  local session = owner .. ':' .. number
  if not pool.present[session] and not is_gone(session) then
    occupied = occupied + 1
    take(session)
  end
end
redis.call('SADD', prefix .. 'pools', name)
return {target, unpack(slots)}
