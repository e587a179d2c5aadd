-- What Lua computes in the guest: tables, closures, strings, floating point. Prints the same everywhere.

local function sieve(limit)
  local composite, count = {}, 0
  for i = 2, limit do
    if not composite[i] then
      count = count + 1
      for k = i * i, limit, i do composite[k] = true end
    end
  end
  return count
end

local function permutations(size)
  -- Heap's algorithm; the sum of the first elements by the number of the permutation.
  local items, sum, number = {}, 0, 0
  for i = 1, size do items[i] = i end
  local function visit(count)
    if count == 1 then
      number = number + 1
      sum = (sum + items[1] * number) % 1000003
      return
    end
    for i = 1, count do
      visit(count - 1)
      local j = count % 2 == 0 and i or 1
      items[j], items[count] = items[count], items[j]
    end
  end
  visit(size)
  return sum
end

local function nbody(steps)
  local bodies = {}
  for i = 1, 5 do
    bodies[i] = { x = i * 1.5, y = i * i * 0.3, z = i % 3, vx = 0.1 * i, vy = 0.2, vz = -0.1 * i, mass = 1 / i }
  end
  for _ = 1, steps do
    for i = 1, #bodies do
      local a = bodies[i]
      for j = i + 1, #bodies do
        local b = bodies[j]
        local dx, dy, dz = a.x - b.x, a.y - b.y, a.z - b.z
        local d2 = dx * dx + dy * dy + dz * dz + 0.01
        local force = 0.001 / (d2 * math.sqrt(d2))
        a.vx, a.vy, a.vz = a.vx - dx * b.mass * force, a.vy - dy * b.mass * force, a.vz - dz * b.mass * force
        b.vx, b.vy, b.vz = b.vx + dx * a.mass * force, b.vy + dy * a.mass * force, b.vz + dz * a.mass * force
      end
    end
    for _, a in ipairs(bodies) do
      a.x, a.y, a.z = a.x + 0.001 * a.vx, a.y + 0.001 * a.vy, a.z + 0.001 * a.vz
    end
  end
  return bodies[1].x
end

local function text(count)
  local pieces = {}
  for i = 1, count do pieces[#pieces + 1] = string.format("%05d:%s", i * 7919 % 10007, ("ab"):rep(i % 5)) end
  local joined = table.concat(pieces, ",")
  local hits = 0
  for digits in joined:gmatch("(%d+):abab,") do hits = (hits + tonumber(digits)) % 1000003 end
  return hits, #joined:gsub("ab", "c")
end

print(sieve(150000), permutations(8), string.format("%.9f", nbody(4000)), text(12000))
