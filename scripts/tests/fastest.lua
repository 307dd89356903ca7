-- Tests of scripts/fastest.lua.
policy "fastest"

test("the fastest idle peer is asked", function()
  local s = swarm{ peers = {
    { name = "slow", rate = 1000000 }, { name = "fast", rate = 9000000 },
  } }
  expect(s.choose().peer, "fast")
end)

test("its queue counts: three chunks at 9 MB/s are later than one at 4", function()
  local s = swarm{ peers = {
    { name = "slow", rate = 4000000 }, { name = "fast", rate = 9000000, inflight = 2 },
  } }
  expect(s.choose().peer, "slow")
end)

test("latency counts for small chunks", function()
  local s = swarm{ chunk = { size = 16384 }, peers = {
    { name = "far", rate = 9000000, rtt_ms = 80 }, { name = "near", rate = 4000000, rtt_ms = 1 },
  } }
  expect(s.choose().peer, "near")
  s.chunk{ size = 4194304 }
  s.set("near", { inflight = 0 })
  expect(s.choose().peer, "far")
end)

test("a peer of unknown rate is asked once", function()
  local s = swarm{ peers = {
    { name = "known", rate = 5000000, uploaded = 9 }, { name = "new", rate = 0 },
  } }
  expect(s.choose().peer, "new")
  expect(s.choose().peer, "known")
end)

test("with nothing known the chunks are spread", function()
  local s = swarm{ peers = { { name = "a" }, { name = "b" }, { name = "c" } } }
  for _ = 1, 9 do
    s.choose()
  end
  for _, name in ipairs({ "a", "b", "c" }) do
    expect(s.peer(name).inflight, 3, name)
  end
end)

test("one that failed the chunk is skipped, however fast", function()
  local s = swarm{ peers = {
    { name = "slow", rate = 1000 }, { name = "fast", rate = 9000000, tried = true },
  } }
  expect(s.choose().peer, "slow")
  s.set("slow", { tried = true })
  expect(s.choose().peer, "fast")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i, rate = 1000 * (i * 37 % 50), inflight = i % 4 }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
