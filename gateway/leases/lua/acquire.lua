-- session ref ttl pin recover mirror, then for each candidate: its number of pools, name, cap, ...
local session, ref, ttl, pin, recover = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local member = session .. '|' .. ref
local known = redis.call('MGET', gone_key(member), KEYS[1], session_key(session))
local gone, pinned = known[1], known[3]
if gone then return {'gone', gone} end
local wait = recovering(recover, known[2])

local candidates, at = {}, 7
while ARGV[at] do
  local one = {names = {}, caps = {}}
  for i = 1, tonumber(ARGV[at]) do
    one.names[i], one.caps[i] = ARGV[at + 2 * i - 1], tonumber(ARGV[at + 2 * i])
  end
  one.id = table.concat(one.names, '\n')
  candidates[#candidates + 1] = one
  at = at + 2 * #one.names + 1
end

local chosen, refused
for i, one in ipairs(candidates) do
  if one.id == pinned then
    chosen, refused = i, refusal(one.names, one.caps, session)
  end
end
if not chosen then
  for i, one in ipairs(candidates) do
    local full = refusal(one.names, one.caps, session)
    if not full then
      chosen, refused = i, nil
      break
    end
    refused = refused or full
  end
end
if wait > 0 and not (chosen and look(candidates[chosen].names[1]).present[session]) then
  return {'recovering', wait}
end
if refused then return refused end

local names, older = candidates[chosen].names, {}
if pinned then
  local moved = pinned ~= candidates[chosen].id
  local left = moved and lines(pinned) or names
  local pool = look(left[1])
  for i, one in ipairs(pool.members) do
    if pool.sessions[i] == session and one ~= member then
      if one ~= session .. '|' then
        older[#older + 1] = string.sub(one, #session + 2)
        if not redis.call('GET', gone_key(one)) then
          finish(one, 'superseded', ttl)
          tell('superseded', one)
        end
      end
      if moved or one == session .. '|' then
        for _, name in ipairs(left) do redis.call('ZREM', pool_key(name), one) end
      end
    end
  end
  if moved then
    for _, name in ipairs(left) do redis.call('ZREM', pool_key(name), member) end
    forget(left)
    mirror(left, ARGV[6])
  end
end
enter(names, session, member, now + ttl)
redis.call('SET', session_key(session), candidates[chosen].id, 'PX', pin)
if pinned ~= candidates[chosen].id then redis.call('SADD', prefix .. 'pools', unpack(names)) end
mirror(names, ARGV[6])
return {'granted', chosen - 1, unpack(older)}
