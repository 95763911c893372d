-- names: the number of sessions in each pool
local counts = {}
for i, name in ipairs(ARGV) do
  purge(name)
  counts[i] = look(name).count
end
return counts
