-- ttl pin recover mirror, then for each lease: session, ref, its number of pools, name, cap, ...
local ttl, pin = ARGV[1], ARGV[2]
local wait = recovering(ARGV[3], redis.call('GET', KEYS[1]), true)
local states, touched, at = {}, {}, 5
while ARGV[at] do
  local session = ARGV[at]
  local member = session .. '|' .. ARGV[at + 1]
  local names, caps = {}, {}
  for i = 1, tonumber(ARGV[at + 2]) do
    names[i], caps[i] = ARGV[at + 1 + 2 * i], tonumber(ARGV[at + 2 + 2 * i])
  end
  at = at + 3 + 2 * #names
  local id = table.concat(names, '\n')
  local state = redis.call('GET', gone_key(member))
  if not state then
    local expiry = redis.call('ZSCORE', pool_key(names[1]), member)
    if expiry and tonumber(expiry) > now then
      state = 'held'
    elseif wait > 0 and not refusal(names, caps, session) then
      local pinned = redis.call('GET', session_key(session))
      if not pinned or pinned == id then
        redis.call('SADD', prefix .. 'pools', unpack(names))
        state = 'held'
      end
    end
    if state then
      enter(names, session, member, now + ttl)
      redis.call('SET', session_key(session), id, 'PX', pin)
      for _, name in ipairs(names) do touched[name] = true end
    end
  end
  states[#states + 1] = state or 'lost'
end
local names = {}
for name in pairs(touched) do
  names[#names + 1] = name
  purge(name)
end
mirror(names, ARGV[4])
return states
