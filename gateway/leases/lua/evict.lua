-- session ttl mirror; the number of refs, the refs, the names of the session's pools
local session = ARGV[1]
local refs = {}
local names = lines(redis.call('GET', session_key(session)) or '')
if #names == 0 then return {0} end
for _, one in ipairs(look(names[1]).members) do
  if one == session .. '|' then
    for _, name in ipairs(names) do redis.call('ZREM', pool_key(name), one) end
  elseif session_of(one) == session then
    refs[#refs + 1] = string.sub(one, #session + 2)
    finish(one, 'evicted', ARGV[2])
    tell('evicted', one)
  end
end
forget(names)
mirror(names, ARGV[3])
local answer = {#refs}
for _, ref in ipairs(refs) do answer[#answer + 1] = ref end
for _, name in ipairs(names) do answer[#answer + 1] = name end
return answer
