-- Tests of scripts/rendezvous.lua.
policy "rendezvous"

local function four()
  return swarm{ peers = { { name = "a" }, { name = "b" }, { name = "c" }, { name = "d" } } }
end

test("a chunk always has the same peer", function()
  local s = four()
  local first = nil
  for name, share in pairs(s.share(100)) do
    if share > 0 then
      expect(first, nil, "only one is ever asked")
      first = name
      expect(share, 1)
    end
  end
  local again = four()
  expect(again.choose().peer, first, "on every node")
end)

test("chunks are spread evenly", function()
  local s = four()
  local share = s.share(4000, function(i)
    s.chunk{ index = i }
  end)
  for name, part in pairs(share) do
    expect_between(part, 0.2, 0.3, name)
  end
end)

test("when a peer leaves only its own chunks move", function()
  local before, after = four(), four()
  after.set("c", { has = false })
  local moved, kept = 0, 0
  for i = 1, 300 do
    before.chunk{ index = i }
    after.chunk{ index = i }
    local was, is = before.choose().peer, after.choose().peer
    before.set(was, { inflight = 0 })
    after.set(is, { inflight = 0 })
    if was == "c" then
      moved = moved + 1
    else
      expect(is, was, "chunk " .. i)
      kept = kept + 1
    end
  end
  expect_between(moved, 40, 110)
  expect(moved + kept, 300)
end)

test("an overloaded peer passes its chunk on", function()
  local s = four()
  local first = s.choose().peer
  s.set(first, { inflight = 3 })
  local next_one = s.choose().peer
  expect_true(next_one ~= first, "it holds three of three")
  expect_true(next_one ~= nil)
end)

test("one that failed the chunk is never asked again while others are there", function()
  local s = four()
  local first = s.choose().peer
  s.event("chunk_failed", { peer = first, kind = "timeout" })
  expect_true(s.choose().peer ~= first)
end)

test("where everyone failed the chunk the default decides", function()
  local s = swarm{ peers = { { name = "a", tried = true } } }
  local choice = s.choose()
  expect(choice.verdict, "abstained")
  expect(choice.asked, "a")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
