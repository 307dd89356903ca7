-- Tests of scripts/two_choices.lua.
policy "two_choices"

test("of two peers the one with the shorter queue is asked, always", function()
  local s = swarm{ peers = { { name = "long", inflight = 3 }, { name = "short", inflight = 1 } } }
  expect(s.share(500).short, 1)
end)

test("equal queues share evenly", function()
  local s = swarm{ peers = { { name = "a" }, { name = "b" }, { name = "c" }, { name = "d" } } }
  for name, share in pairs(s.share(4000)) do
    expect_between(share, 0.21, 0.29, name)
  end
end)

test("the longest queue of three is never asked, and no other one always", function()
  local s = swarm{ peers = {
    { name = "a", inflight = 1 }, { name = "b", inflight = 1 }, { name = "long", inflight = 3 },
  } }
  local share = s.share(2000)
  expect(share.long, 0)
  expect_between(share.a, 0.4, 0.6)
end)

test("queues grow alike", function()
  local s = swarm{ peers = {
    { name = "a", slots = 64 }, { name = "b", slots = 64 }, { name = "c", slots = 64 },
    { name = "d", slots = 64 },
  } }
  for _ = 1, 100 do
    s.choose()
  end
  for _, name in ipairs({ "a", "b", "c", "d" }) do
    expect_between(s.peer(name).inflight, 22, 28, name)
  end
end)

test("one that failed the chunk is skipped while others are there", function()
  local s = swarm{ peers = { { name = "a", tried = true }, { name = "b", inflight = 3 } } }
  expect(s.share(100).b, 1)
  s.set("b", { tried = true })
  expect(s.choose().verdict, "chosen")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
