-- session ref grace ttl mirror
local session, grace = ARGV[1], tonumber(ARGV[3])
local member, marker = session .. '|' .. ARGV[2], session .. '|'
local was = redis.call('GET', gone_key(member))
if was == 'released' then return {} end
finish(member, 'released', ARGV[4])
if was then tell('released', member) end
local pinned = redis.call('GET', session_key(session))
if not pinned then return {} end
local names = lines(pinned)
local here, others = false, false
for _, one in ipairs(look(names[1]).members) do
  if one == member then
    here = true
  elseif session_of(one) == session then
    others = true
  end
end
if not here then return {} end
for _, name in ipairs(names) do
  redis.call('ZREM', pool_key(name), member)
  if not others and grace > 0 and was ~= 'evicted' then
    redis.call('ZADD', pool_key(name), int(now + grace), marker)
  end
end
forget(names)
mirror(names, ARGV[5])
return names
