-- What every operation begins with. KEYS[1] is the epoch; all other keys have its hash tag, so they
-- lie in the same slot of a cluster.
--   epoch            "<run id of the server> <time until which it recovers, ms>"
--   pool:<name>      sorted set: "<session>|<ref>" by expiry in ms; "<session>|" is a grace marker
--   session:<id>     the names of the pools that the session is in or was in last, one a line
--   gone:<member>    how a ref ended; for ttl its id is not admitted again
--   wanted:<name>    hash: owner of slots -> "<slots wanted> <expiry in ms>"
--   pools            set: names of pools that were ever used
--   events           channel: "<state> <session>|<ref>"
-- Invariant between operations: a session's members are those of all its pools alike.
-- The first argument says whether this script was run before by this process of redis-server; the
-- scripts number what follows it from 1.
local is_same = table.remove(ARGV, 1) == '1'
local prefix = string.sub(KEYS[1], 1, -6)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function int(number) return string.format('%.0f', number) end
local function pool_key(name) return prefix .. 'pool:' .. name end
local function session_key(session) return prefix .. 'session:' .. session end
local function gone_key(member) return prefix .. 'gone:' .. member end
local function session_of(member) return string.match(member, '^([^|]*)|') end

local function lines(text)
  local found = {}
  for line in string.gmatch(text, '[^\n]+') do found[#found + 1] = line end
  return found
end

-- What has expired is not seen; it is removed by whatever calls purge.
local function purge(name)
  redis.call('ZREMRANGEBYSCORE', pool_key(name), '-inf', now)
end

-- Each pool is read once in an operation; what enters is noted, and what leaves wants `forget`.
local read = {}
local after = '(' .. int(now)
local function look(name)
  local pool = read[name]
  if pool then return pool end
  local members = redis.call('ZRANGEBYSCORE', pool_key(name), after, '+inf')
  pool = {members = members, sessions = {}, present = {}, count = 0}
  for i, member in ipairs(members) do
    local session = session_of(member)
    pool.sessions[i] = session
    if not pool.present[session] then
      pool.present[session] = true
      pool.count = pool.count + 1
    end
  end
  read[name] = pool
  return pool
end

local function forget(names)
  for _, name in ipairs(names) do read[name] = nil end
end

local function enter(names, session, member, expiry)
  local score = int(expiry)
  for _, name in ipairs(names) do
    redis.call('ZADD', pool_key(name), score, member)
    local pool = read[name]
    if pool and not pool.present[session] then
      pool.present[session] = true
      pool.count = pool.count + 1
    end
  end
end

local function finish(member, state, ttl)
  redis.call('SET', gone_key(member), state, 'PX', ttl)
end

local function tell(state, member)
  redis.call('PUBLISH', prefix .. 'events', state .. ' ' .. member)
end

-- The first pool that has no room for the session, as a refusal, or nil. There are no more sessions
-- than members, so most pools need not be read.
local function refusal(names, caps, session)
  for i, name in ipairs(names) do
    if caps[i] > 0 and redis.call('ZCARD', pool_key(name)) >= caps[i] then
      local pool = look(name)
      if pool.count >= caps[i] and not pool.present[session] then
        return {'full', name, pool.count, caps[i]}
      end
    end
  end
end

-- Milliseconds for which only those who held a slot get one: the store was flushed (no epoch), or
-- it is another process than before and may have an old state (another run id). A script that was
-- run before is in the same process, and spares the look at the id; heartbeats look all the same.
local function recovering(recover, epoch, look_always)
  local known, till = string.match(epoch or '', '^(%S+) (%d+)$')
  if known and is_same and not look_always then return math.max(0, till - now) end
  local info = redis.pcall('INFO', 'server')
  local at = type(info) == 'string' and string.find(info, 'run_id:', 1, true)
  local run = at and string.sub(info, at + 7, at + 46) or '-'
  if known ~= run then
    for _, name in ipairs(redis.call('SMEMBERS', prefix .. 'pools')) do
      redis.call('DEL', pool_key(name))
    end
    till = now + recover
    redis.call('SET', KEYS[1], run .. ' ' .. int(till))
  end
  return math.max(0, till - now)
end

-- Dashboards know the key profile_connections:<id>. It expires with the newest ref, so it cannot
-- stick. It has no hash tag: a cluster's client writes it itself.
local function mirror(names, wanted)
  if wanted ~= '1' then return end
  for _, name in ipairs(names) do
    if string.sub(name, 1, 8) == 'profile:' then
      local id = string.sub(name, 9)
      local count = look(name).count
      if count > 0 then
        local newest = redis.call('ZREVRANGE', pool_key(name), 0, 0, 'WITHSCORES')
        redis.call('SET', 'profile_connections:' .. id, count, 'PX', int(newest[2] - now))
      else
        redis.call('DEL', 'profile_connections:' .. id)
      end
    end
  end
end
