-- Tests of scripts/lowest_uploaded.lua.
policy "lowest_uploaded"

test("the peer that has uploaded least is asked", function()
  local s = swarm{ peers = {
    { name = "busy", uploaded = 9000000 },
    { name = "idle", uploaded = 1000 },
    { name = "some", uploaded = 500000 },
  } }
  expect(s.choose().peer, "idle")
end)

test("what it is asked for counts as uploaded, so the next chunk goes elsewhere", function()
  local s = swarm{ chunk = { size = 1000 }, peers = {
    { name = "a", uploaded = 0 },
    { name = "b", uploaded = 1500 },
  } }
  expect(s.choose().peer, "a")
  expect(s.choose().peer, "a")
  expect(s.choose().peer, "b")
  expect(s.peer("a").inflight, 2)
end)

test("ties go to the fewest in flight, then to the lowest id", function()
  local s = swarm{ peers = { { name = "a", inflight = 2 }, { name = "b" }, { name = "c" } } }
  expect(s.choose().peer, "b")
end)

test("one that failed the chunk is skipped while others are there", function()
  local s = swarm{ peers = { { name = "a", tried = true }, { name = "b", uploaded = 7 } } }
  expect(s.choose().peer, "b")
  s.set("b", { inflight = 4 })
  expect(s.choose().peer, "a", "nobody else has a free slot")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i, uploaded = 1000 * (i * 37 % 50) }
  end
  local s = swarm{ peers = peers }
  expect_between(s.choose().us, 0, 100)
end)
