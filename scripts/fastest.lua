-- fastest: the peer that is expected to have the chunk here first: what is in flight there and this
-- chunk, at the rate it gives us, and one latency. A peer of unknown rate counts as fast as the
-- best, so that it is asked once and its rate learnt. Bad for the swarm when everybody does it: the
-- fast peers serve everyone and the slow ones nobody; and a rate that was bad once is seldom tried
-- again.
-- Source: P. Rodriguez and E. Biersack, Dynamic Parallel Access to Replicated Content in the
-- Internet, IEEE/ACM Transactions on Networking 10(4), 2002.

---@type shoal.Policy
return {
  api = 1,
  name = "fastest",
  description = "the least expected finish: queue and chunk at the peer's rate, and its latency",
  choose = function(ctx, peers)
    local best_rate = 1
    for i = 1, #peers do
      local rate = peers[i].rate
      if rate > best_rate then
        best_rate = rate
      end
    end
    local size, best, least = ctx.chunk.size, nil, nil
    for i = 1, #peers do
      local peer = peers[i]
      local rate = peer.rate > 0 and peer.rate or best_rate
      local finish_ms = (peer.inflight + 1) * size / rate * 1000 + peer.rtt_ms
      if best == nil or (best.tried and not peer.tried)
        or (best.tried == peer.tried
          and (finish_ms < least or (finish_ms == least and peer.uploaded < best.uploaded))) then
        best, least = peer, finish_ms
      end
    end
    return best, least
  end,
}
