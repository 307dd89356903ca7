-- Tests of scripts/zone_aware.lua: we are in zone b, which has no seed.
policy "zone_aware"

local function zone_b(more)
  local all = { params = { zone = "b" }, peers = {
    { name = "seed", labels = { zone = "a" }, is_seed = true },
    { name = "a1", labels = { zone = "a" } }, { name = "a2", labels = { zone = "a" } },
    { name = "b1", labels = { zone = "b" } }, { name = "b2", labels = { zone = "b" } },
    { name = "b3", labels = { zone = "b" } },
  } }
  for key, value in pairs(more or {}) do
    all[key] = value
  end
  return swarm(all)
end

-- The peers outside that are open, and how many.
local function gates(s)
  local open, count = nil, 0
  for _, name in ipairs({ "seed", "a1", "a2" }) do
    if s.peer(name).slots > 0 then
      open, count = name, count + 1
    end
  end
  return open, count
end

test("a neighbour is asked before anybody outside", function()
  local s = zone_b()
  s.advance(1000)
  s.set("b1", { uploaded = 1 << 40, inflight = 2 })
  s.set("b2", { has = false })
  s.set("b3", { has = false })
  local choice = s.choose()
  expect(choice.peer, "b1")
  expect(choice.reason, "in the zone")
end)

test("of neighbours the shortest queue, then the one that uploaded least", function()
  local s = zone_b()
  s.set("b1", { inflight = 1 })
  s.set("b2", { uploaded = 9 })
  expect(s.choose().peer, "b3")
  s.set("b3", { inflight = 2 })
  expect(s.choose().peer, "b2")
end)

test("one peer outside is open at a time, no seed, for one chunk", function()
  local s, seen = zone_b(), {}
  for _ = 1, 40 do
    s.advance(1000)
    s.event("chunk_done", { peer = "b1", bytes = 1000 })
    local open, count = gates(s)
    expect(count, 1)
    expect(s.peer(open).slots, 1)
    seen[open] = true
  end
  expect(seen, { a1 = true, a2 = true }, "drawn by lot")
end)

test("what only the open one has is fetched there", function()
  local s = zone_b()
  s.advance(1000)
  for _, name in ipairs({ "b1", "b2", "b3" }) do
    s.set(name, { has = false })
  end
  local open = gates(s)
  local choice = s.choose()
  expect(choice.peer, open)
  expect(choice.reason, "our part of what the zone needs")
  expect(s.choose().asked, nil, "one chunk at a time, and the others are closed")
end)

test("the seed outside is open where nobody else is there", function()
  local s = swarm{ params = { zone = "b" }, peers = {
    { name = "seed", labels = { zone = "a" }, is_seed = true },
    { name = "b1", labels = { zone = "b" } },
  } }
  s.advance(1000)
  expect(s.peer("seed").slots, 1)
end)

test("who has fetched its part outside is closed while the zone gives", function()
  local s = zone_b()
  local open = nil
  for _ = 1, 10 do
    s.event("chunk_done", { peer = "a1", bytes = 4000 })
    s.event("chunk_done", { peer = "b1", bytes = 4000 })
    s.advance(1000)
    open = gates(s)
  end
  expect(open, nil, "half is more than 1.4 times the quarter")
  for _ = 1, 10 do
    s.event("chunk_done", { peer = "b1", bytes = 40000 })
  end
  s.advance(1000)
  expect_true(gates(s) ~= nil, "it is less than its part again")
end)

test("a second without a chunk from the zone opens one outside, whatever its part", function()
  local s = zone_b()
  s.event("chunk_done", { peer = "b1", bytes = 1000 })
  s.event("chunk_done", { peer = "a1", bytes = 900000 })
  s.advance(1000)
  expect(gates(s), nil)
  s.advance(1000)
  expect_true(gates(s) ~= nil)
end)

test("a zone with a seed brings nothing in, and spares its seed", function()
  local s = zone_b{ params = { zone = "a", seed_width = 2 } }
  s.event("chunk_done", { peer = "a1", bytes = 1000 })
  s.advance(1000)
  for _, name in ipairs({ "b1", "b2", "b3" }) do
    expect(s.peer(name).slots, 0, name)
  end
  expect(s.peer("seed").slots, 2)
  expect(s.peer("a1").slots, 4)
  expect(s.choose().peer, "a1", "a neighbour that is no seed")
end)

test("a zone that gives nothing for three seconds is late, and everybody is open", function()
  local s = zone_b()
  s.event("chunk_done", { peer = "b1", bytes = 1000 })
  s.advance(3000)
  local _, count = gates(s)
  expect(count, 1)
  s.advance(1000)
  _, count = gates(s)
  expect(count, 3)
  for _, name in ipairs({ "b1", "b2", "b3" }) do
    s.set(name, { has = false })
  end
  expect(s.choose().reason, "the zone is late")
  s.event("chunk_done", { peer = "b1", bytes = 1000 })
  s.advance(1000)
  _, count = gates(s)
  expect(count, 1, "it gives again")
end)

test("a node without neighbours is open to everybody", function()
  local s = swarm{ params = { zone = "c" }, peers = {
    { name = "a", labels = { zone = "a" } }, { name = "b", labels = { zone = "b" } }, { name = "x" },
  } }
  for _ = 1, 3 do
    expect(s.peer("a").slots, 4)
    expect(s.choose().verdict, "chosen")
    s.advance(1000)
  end
end)

test("a neighbour that left is forgotten", function()
  local s = zone_b()
  s.advance(1000)
  for _, name in ipairs({ "b1", "b2", "b3" }) do
    s.event("peer_removed", { peer = name })
  end
  s.advance(1000)
  local _, count = gates(s)
  expect(count, 3, "nobody is left in the zone")
end)

test("one that failed the chunk is skipped while others are open", function()
  local s = zone_b()
  s.advance(1000)
  s.set("b1", { tried = true })
  s.set("b2", { tried = true })
  expect(s.choose().peer, "b3")
  s.set("b3", { tried = true })
  expect(s.choose().peer, (gates(s)), "rather outside than the same again")
end)

test("chunks are begun rarest first and never fetched twice", function()
  expect(zone_b().order(), { strategy = "rarest", duplicate = false })
end)

test("256 peers are no trouble, in decisions or between them", function()
  local peers = {}
  for i = 1, 256 do
    peers[i] = { name = "p" .. i, labels = { zone = i % 2 == 0 and "a" or "b" } }
  end
  local s = swarm{ peers = peers }
  s.advance(5000)
  expect_between(s.choose().us, 0, 2000)
end)
