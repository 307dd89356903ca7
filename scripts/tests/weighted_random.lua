-- Tests of scripts/weighted_random.lua.
policy "weighted_random"

test("the shares follow the rates", function()
  local s = swarm{ peers = {
    { name = "a", rate = 6000000 }, { name = "b", rate = 3000000 }, { name = "c", rate = 1000000 },
  } }
  local share = s.share(10000)
  expect_between(share.a, 0.57, 0.63)
  expect_between(share.b, 0.27, 0.33)
  expect_between(share.c, 0.08, 0.12)
end)

test("an unknown rate counts as the mean", function()
  local s = swarm{ peers = {
    { name = "a", rate = 6000000 }, { name = "b", rate = 2000000 }, { name = "new" },
  } }
  expect_between(s.share(10000).new, 0.3, 0.37)
end)

test("with nothing known all are alike", function()
  local s = swarm{ peers = { { name = "a" }, { name = "b" }, { name = "c" }, { name = "d" } } }
  for name, share in pairs(s.share(8000)) do
    expect_between(share, 0.22, 0.28, name)
  end
end)

test("a peer beyond its share is left out, however fast", function()
  local s = swarm{ peers = {
    { name = "fast", rate = 90000000, inflight = 3 }, { name = "b", rate = 1000 },
    { name = "c", rate = 1000 },
  } }
  expect(s.share(1000).fast, 0)
end)

test("without a bound the fastest gets nearly everything", function()
  local s = swarm{ params = { bound = 100 }, peers = {
    { name = "fast", rate = 90000000, inflight = 3 }, { name = "b", rate = 1000 },
  } }
  expect_between(s.share(1000).fast, 0.99, 1)
end)

test("one that failed the chunk is skipped while others are there", function()
  local s = swarm{ peers = {
    { name = "a", rate = 9000000, tried = true }, { name = "b", rate = 1000 },
  } }
  expect(s.share(500).b, 1)
  s.set("b", { tried = true })
  expect(s.choose().verdict, "chosen")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i, rate = 1000 * (i * 37 % 50) }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
