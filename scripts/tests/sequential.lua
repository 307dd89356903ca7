-- Tests of scripts/sequential.lua.
policy "sequential"

-- A slow peer that has uploaded nothing, and a fast one that has done much.
local function two(more)
  local all = { chunk = { size = 1000000 }, peers = {
    { name = "slow", rate = 100000, rtt_ms = 5 },
    { name = "fast", rate = 10000000, rtt_ms = 5, uploaded = 1 << 40 },
  } }
  for key, value in pairs(more or {}) do
    all[key] = value
  end
  return swarm(all)
end

test("chunks are begun in order, within a window", function()
  expect(two().order(), { strategy = "sequential", window = 32, duplicate = true })
  expect(two{ params = { window = 5 } }.order().window, 5)
end)

test("while the player is far behind, the work is shared", function()
  local s = two{ download = { done = 60000000, elapsed_ms = 20000 } }
  local choice = s.choose()
  expect(choice.peer, "slow")
  expect(choice.reason, "in time")
end)

test("when the player is near, the first to have it here is asked", function()
  local s = two{ download = { done = 12000000, elapsed_ms = 20000 } }
  local choice = s.choose()
  expect(choice.peer, "fast")
  expect(choice.reason, "late")
end)

test("a deadline of the chunk counts more than the player", function()
  local s = two{ download = { done = 12000000, elapsed_ms = 20000 } }
  s.chunk{ deadline_ms = 60000 }
  expect(s.choose().reason, "in time")
  s.chunk{ deadline_ms = 5000 }
  expect(s.choose().peer, "fast")
end)

test("time that passes makes a chunk late", function()
  local s = two{ download = { done = 15000000, elapsed_ms = 0 } }
  expect(s.choose().reason, "in time")
  s.set("slow", { inflight = 0 })
  s.advance(20000)
  expect(s.choose().reason, "late")
end)

test("a higher bitrate is late sooner", function()
  local ahead = { done = 60000000, elapsed_ms = 20000 }
  expect(two{ download = ahead, params = { bitrate = 1000000 } }.choose().reason, "in time")
  expect(two{ download = ahead, params = { bitrate = 6000000 } }.choose().reason, "late")
end)

test("a second attempt goes to the fastest that has not failed it", function()
  local s = two{ download = { done = 60000000, elapsed_ms = 20000 } }
  expect(s.choose().peer, "slow")
  s.event("chunk_failed", { peer = "slow", kind = "timeout" })
  local choice = s.choose()
  expect(choice.peer, "fast")
  expect(choice.reason, "tried before")
end)

test("a decision over 50 peers takes less than a tenth of a millisecond", function()
  local peers = {}
  for i = 1, 50 do
    peers[i] = { name = "p" .. i, rate = 1000 * (i * 37 % 50) }
  end
  expect_between(swarm{ peers = peers }.choose().us, 0, 100)
end)
