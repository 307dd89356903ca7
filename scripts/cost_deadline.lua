-- cost_deadline: the cheapest peers, by their label `cost`, as long as the download will be done by
-- its deadline at the rate it has; the peer that is expected to finish first once it will not. The
-- rate then rises, and the cheap ones have their turn again: the dear ones are used just as much as
-- the deadline asks for. Bad when rates swing or the deadline is near: it notices late; and with a
-- deadline that nobody needs it is merely slow. Peers without the label cost `unlabelled`.
-- Source: B. Han, F. Qian, L. Ji, V. Gopalakrishnan, MP-DASH: Adaptive Video Streaming Over
-- Preference-Aware Multipath, CoNEXT 2016; C. Wilson et al., Better Never than Late: Meeting
-- Deadlines in Datacenter Networks, SIGCOMM 2011 (the rate that a deadline asks for).

-- What a peer costs, in the operator's own unit.
local function cost_of(ctx, peer)
  return tonumber(peer.labels.cost or "") or ctx.params.unlabelled
end

-- Whether the download is late for its deadline.
local function binds(ctx)
  local download = ctx.download
  local left_s = ctx.params.deadline - download.elapsed_ms / 1000
  if left_s <= 0 then
    return true
  end
  local needed = (download.total - download.done) / left_s * ctx.params.margin
  -- A rate that is not known yet says nothing in the first tenth of the time.
  local begun = download.rate > 0 or download.elapsed_ms / 1000 > ctx.params.deadline / 10
  return begun and download.rate < needed
end

local function finish_ms(peer, size, best)
  local rate = peer.rate > 0 and peer.rate or best
  return (peer.inflight + 1) * size / rate * 1000 + peer.rtt_ms
end

---@type shoal.Policy
return {
  api = 1,
  name = "cost_deadline",
  description = "the cheapest peers until the deadline binds, then the fastest",
  requires = { "labels", "slots" },
  params = {
    deadline = {
      type = "number", default = 3600, min = 1,
      doc = "seconds after its start in which the download should be done",
    },
    margin = {
      type = "number", default = 1.2, min = 1, max = 10,
      doc = "the deadline binds where the rate is not this multiple of what is needed",
    },
    cheap = {
      type = "number", default = 0, min = 0,
      doc = "a peer that costs more gets one chunk at a time while the deadline does not bind",
    },
    unlabelled = {
      type = "number", default = 1, min = 0,
      doc = "what a peer without a label `cost` costs",
    },
  },
  slots = function(ctx, peer)
    if cost_of(ctx, peer) > ctx.params.cheap and not binds(ctx) then
      return 1
    end
    return 256
  end,
  choose = function(ctx, peers)
    local best_rate = 1
    for i = 1, #peers do
      if peers[i].rate > best_rate then
        best_rate = peers[i].rate
      end
    end
    local late = binds(ctx)
    local size, best, least_cost, least_ms = ctx.chunk.size, nil, nil, nil
    for i = 1, #peers do
      local peer = peers[i]
      if not peer.tried then
        local ms = finish_ms(peer, size, best_rate)
        -- Once late, all cost the same.
        local cost = late and 0 or cost_of(ctx, peer)
        if best == nil or cost < least_cost or (cost == least_cost and ms < least_ms) then
          best, least_cost, least_ms = peer, cost, ms
        end
      end
    end
    local deadline_ms = ctx.chunk.deadline_ms
    if best and not late and deadline_ms and least_ms > deadline_ms then
      best = peers[shoal.argmin(peers, function(peer)
        return not peer.tried and finish_ms(peer, size, best_rate) or nil
      end)]
      return best, "the chunk is late"
    end
    return best, late and "late" or "in time"
  end,
}
