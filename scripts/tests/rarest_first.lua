-- Tests of scripts/rarest_first.lua.
policy "rarest_first"

local function three(chunk)
  return swarm{ chunk = chunk, peers = {
    { name = "seed", is_seed = true }, { name = "a", inflight = 1 }, { name = "b", inflight = 2 },
  } }
end

test("chunks are begun rarest first", function()
  expect(three().order(), { strategy = "rarest", duplicate = true })
end)

test("a common chunk spares the seed", function()
  local s = three{ availability = 3 }
  local choice = s.choose()
  expect(choice.peer, "a")
  expect(choice.reason, "common")
end)

test("a rare chunk is fetched from the shortest queue, seed or not", function()
  local s = three{ availability = 2 }
  expect(s.choose().peer, "seed")
  s.set("seed", { inflight = 3 })
  expect(s.choose().peer, "a")
end)

test("a queue is measured by its slots", function()
  local s = swarm{ chunk = { availability = 9 }, peers = {
    { name = "a", inflight = 2, slots = 4 }, { name = "b", inflight = 3, slots = 16 },
  } }
  expect(s.choose().peer, "b")
end)

test("the seed serves where everyone else failed the chunk", function()
  local s = three{ availability = 9 }
  s.set("a", { tried = true })
  s.set("b", { tried = true })
  expect(s.choose().peer, "seed")
end)

test("rare is what the operator says", function()
  local s = swarm{ params = { rare = 0 }, chunk = { availability = 1 }, peers = {
    { name = "seed", is_seed = true }, { name = "a", inflight = 3 },
  } }
  expect(s.choose().peer, "a")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i, inflight = i % 4, is_seed = i % 9 == 0 }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
