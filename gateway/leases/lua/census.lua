-- for each member of each pool: the pool, the member, the milliseconds left, how the ref ended or ''
local found, ended = {}, {}
for _, name in ipairs(redis.call('SMEMBERS', prefix .. 'pools')) do
  local members = redis.call('ZRANGEBYSCORE', pool_key(name), after, '+inf', 'WITHSCORES')
  for i = 1, #members, 2 do
    local member = members[i]
    ended[member] = ended[member] or redis.call('GET', gone_key(member)) or ''
    found[#found + 1] = name
    found[#found + 1] = member
    found[#found + 1] = members[i + 1] - now
    found[#found + 1] = ended[member]
  end
end
return found
