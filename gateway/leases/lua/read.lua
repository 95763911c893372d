-- name: the members of a pool and the milliseconds that each has left
purge(ARGV[1])
local pool = look(ARGV[1])
local found = {}
for i, member in ipairs(pool.members) do
  found[2 * i - 1] = member
  found[2 * i] = redis.call('ZSCORE', pool_key(ARGV[1]), member) - now
end
return found
