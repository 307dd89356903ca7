-- zone_aware: stay inside our own zone while it has a peer with a short queue, and spill to the
-- others when it is saturated, has failed this chunk, or is slow. Saves traffic between zones. Bad
-- when only one zone has the content: its peers are asked by everyone, and the spill is then what
-- feeds the rest, so keep `spill` small. Peers without a zone count as another zone. The node keeps
-- two connections out of a policy's reach, so that a zone cannot starve itself altogether.
-- Source: R. Bindal et al., Improving Traffic Locality in BitTorrent via Biased Neighbor Selection,
-- ICDCS 2006.

-- The share of a peer's slots that we already fill.
local function load_of(peer)
  return peer.inflight / peer.slots
end

local function least_loaded(peers)
  return peers[shoal.argmin(peers, load_of)]
end

---@type shoal.Policy
return {
  api = 1,
  name = "zone_aware",
  description = "our zone first, the others when it is saturated or slow",
  requires = { "labels" },
  params = {
    zone = { type = "string", default = "a", doc = "our zone, as the label `zone` of its peers" },
    spill = {
      type = "number", default = 0.75, min = 0, max = 1,
      doc = "leave the zone when its least loaded peer has this share of its slots filled",
    },
    slow = {
      type = "number", default = 4, min = 1,
      doc = "leave the zone when another peer is this many times as fast",
    },
  },
  choose = function(ctx, peers)
    local near, far = {}, {}
    for i = 1, #peers do
      local peer = peers[i]
      if not peer.tried then
        local side = peer.labels.zone == ctx.params.zone and near or far
        side[#side + 1] = peer
      end
    end
    if #near == 0 and #far == 0 then
      return nil
    elseif #near == 0 then
      return least_loaded(far), "nobody in the zone"
    elseif #far == 0 then
      return least_loaded(near), "in the zone"
    end
    local here, there = least_loaded(near), least_loaded(far)
    if load_of(here) >= ctx.params.spill and load_of(there) < load_of(here) then
      return there, "the zone is saturated"
    elseif here.rate > 0 and there.rate > here.rate * ctx.params.slow then
      return there, "the zone is slow"
    end
    return here, "in the zone"
  end,
}
