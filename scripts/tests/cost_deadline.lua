-- Tests of scripts/cost_deadline.lua.
policy "cost_deadline"

local function mixed(more)
  local all = { params = { deadline = 100 }, peers = {
    { name = "free", labels = { cost = 0 }, rate = 1000000, slots = 8 },
    { name = "dear", labels = { cost = 5 }, rate = 9000000, slots = 8 },
    { name = "plain", rate = 3000000, slots = 8 },
  } }
  for key, value in pairs(more or {}) do
    all[key] = value
  end
  return swarm(all)
end

test("the cheapest peer is asked while there is time", function()
  local s = mixed{ download = { total = 100000000, done = 50000000, rate = 2000000,
    elapsed_ms = 10000 } }
  local choice = s.choose()
  expect(choice.peer, "free")
  expect(choice.reason, "in time")
end)

test("once the rate is too low for the deadline, the fastest", function()
  local s = mixed{ download = { total = 100000000, done = 50000000, rate = 2000000,
    elapsed_ms = 80000 } }
  local choice = s.choose()
  expect(choice.peer, "dear")
  expect(choice.reason, "late")
end)

test("after the deadline too", function()
  expect(mixed{ download = { rate = 90000000, elapsed_ms = 100001 } }.choose().peer, "dear")
end)

test("an unknown rate is no reason to pay until a tenth of the time is over", function()
  local s = mixed{ download = { total = 100000000 } }
  expect(s.choose().peer, "free")
  s.advance(11000)
  expect(s.choose().peer, "dear")
end)

test("without a label the price is the operator's guess", function()
  local s = mixed{ download = { total = 1000, rate = 1000000 } }
  s.set("free", { has = false })
  expect(s.choose().peer, "plain")
  local dearer = mixed{ params = { deadline = 100, unlabelled = 9 },
    download = { total = 1000, rate = 1000000 } }
  dearer.set("free", { has = false })
  expect(dearer.choose().peer, "dear")
end)

test("dear peers get one chunk at a time until the deadline binds", function()
  local s = mixed{ download = { total = 100000000, done = 50000000, rate = 2000000,
    elapsed_ms = 10000 } }
  expect(s.slots("dear"), 1)
  expect(s.slots("plain"), 1)
  expect(s.slots("free"), 8)
  s.advance(80000)
  expect(s.slots("dear"), 8)
end)

test("a chunk that would miss its own deadline is worth paying for", function()
  local s = mixed{ chunk = { size = 1000000, deadline_ms = 500 },
    download = { total = 1000, rate = 1000000 } }
  local choice = s.choose()
  expect(choice.peer, "dear")
  expect(choice.reason, "the chunk is late")
end)

test("one that failed the chunk is skipped while others are there", function()
  local s = mixed{ download = { total = 1000, rate = 1000000 } }
  s.set("free", { tried = true })
  expect(s.choose().peer, "plain")
end)

test("a label that is no number costs as much as none", function()
  local s = swarm{ download = { total = 1000, rate = 1000000 }, peers = {
    { name = "odd", labels = { cost = "much" } }, { name = "cheap", labels = { cost = "0.5" } },
  } }
  expect(s.choose().peer, "cheap")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i, labels = { cost = i % 5 }, rate = 1000 * (i * 37 % 50) }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
