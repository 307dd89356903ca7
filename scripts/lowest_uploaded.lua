-- lowest_uploaded: the peer that has uploaded least serves next, so that the work of a swarm is
-- shared evenly; ties go to the peer with the fewest chunks in flight from us, then to the lowest
-- id. The same rule as the node's own default, written out: a place to start from, and the oracle
-- of the node's tests. Bad where peers differ in speed: it gives a slow peer as much as a fast one.
-- Source: the specification of auto_download.

local function before(a, b)
  if a.tried ~= b.tried then
    return not a.tried
  elseif a.uploaded ~= b.uploaded then
    return a.uploaded < b.uploaded
  elseif a.inflight ~= b.inflight then
    return a.inflight < b.inflight
  end
  return a.id < b.id
end

---@type shoal.Policy
return {
  api = 1,
  name = "lowest_uploaded",
  description = "the peer that has uploaded least; the default, as a script",
  choose = function(_, peers)
    local best = peers[1]
    for i = 2, #peers do
      if before(peers[i], best) then
        best = peers[i]
      end
    end
    return best
  end,
}
