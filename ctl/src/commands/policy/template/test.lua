-- Tests of @NAME@.lua: made-up swarms on a virtual clock, no network and no waiting.
--
--   shoalctl policy test @NAME@_test.lua
--
-- The policy is the file beside this one. A test that stands elsewhere names one that the node has:
--   policy "@NAME@"

test("prefers our zone", function()
  local s = swarm{ params = { zone = "a" }, peers = {
    { name = "near", labels = { zone = "a" }, slots = 4 },
    { name = "far", labels = { zone = "b" }, slots = 4 },
  } }
  expect(s.choose().peer, "near")
end)

test("leaves the zone when its slots are nearly used up", function()
  local s = swarm{ params = { zone = "a", bonus = 4 }, peers = {
    { name = "near", labels = { zone = "a" }, slots = 8, inflight = 7 },
    { name = "far", labels = { zone = "b" }, slots = 8 },
  } }
  expect(s.choose().peer, "far")
  s.set("near", { inflight = 0 })
  expect(s.choose().peer, "near")
end)

test("asks nobody twice for a chunk that failed there", function()
  local s = swarm{ params = { zone = "a" }, peers = {
    { name = "near", labels = { zone = "a" }, slots = 8, tried = true },
    { name = "far", labels = { zone = "b" }, slots = 8 },
  } }
  expect(s.choose().peer, "far")
end)

-- What else a swarm can do:
--   s.choose()                        { peer, verdict, reason, us } of one decision
--   s.share(100)                      the share of each peer in 100 decisions, by name:
--                                       expect_between(s.share(100).near, 0.6, 1)
--   s.set("near", { rate = 1e6 })     changes what the policy sees of a peer
--   s.advance(1500)                   moves the clock on by so many milliseconds
--   s.event("chunk_failed", { peer = "near", kind = "timeout" })
--   s.order(), s.slots("near")        what `order` and `slots` say
