-- weighted_random: at random, in proportion to the rate a peer gives us, among those that do not
-- hold more than their share of what we have in flight. The chance keeps nodes that see the same
-- numbers from doing the same; the bound keeps a row of bad luck from queueing at one peer. A peer
-- of unknown rate counts as the mean. Bad with few chunks in flight (the bound then binds always),
-- and when one peer is so much faster than all others that everything should come from there.
-- Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, Consistent Hashing with Bounded Loads, SODA
-- 2018 (the bound); weighted least-connection lotteries of load balancers (the weight).

---@type shoal.Policy
return {
  api = 1,
  name = "weighted_random",
  description = "at random in proportion to the rate, no peer far beyond its share",
  params = {
    bound = {
      type = "number", default = 1.25, min = 1, max = 100,
      doc = "the most in flight at a peer, as a multiple of the mean",
    },
  },
  choose = function(ctx, peers)
    local open = {}
    for i = 1, #peers do
      if not peers[i].tried then
        open[#open + 1] = peers[i]
      end
    end
    if #open == 0 then
      open = peers
    end
    local inflight, rates, known = 0, 0, 0
    for i = 1, #open do
      local peer = open[i]
      inflight = inflight + peer.inflight
      if peer.rate > 0 then
        rates, known = rates + peer.rate, known + 1
      end
    end
    -- At least one is below: not all can hold more than the mean.
    local most = math.ceil(ctx.params.bound * (inflight + 1) / #open)
    local unknown = known > 0 and rates / known or 1
    local index = shoal.weighted(open, function(peer)
      if peer.inflight >= most then
        return 0
      end
      return peer.rate > 0 and peer.rate or unknown
    end)
    return index and open[index]
  end,
}
