-- rendezvous: every chunk has its own order of peers, by a hash of peer and chunk that is the same
-- on every node, and the first of them that is not overloaded is asked. All nodes ask the same peer
-- for the same chunk, so that it is read from disk once and served from memory after; and when a
-- peer leaves, only its own chunks move. Bad where peers differ in speed (each gets the same
-- share), and in small swarms, where everything is in memory anyway.
-- Source: D. Thaler and C. Ravishankar, Using Name-Based Mappings to Increase Hit Rates, IEEE/ACM
-- Transactions on Networking 6(1), 1998; V. Mirrokni, M. Thorup, M. Zadimoghaddam, Consistent
-- Hashing with Bounded Loads, SODA 2018.

---@type shoal.Policy
return {
  api = 1,
  name = "rendezvous",
  description = "each chunk from the peer that its hash names, unless that one is overloaded",
  params = {
    bound = {
      type = "number", default = 2, min = 1, max = 100,
      doc = "a peer is overloaded from this multiple of the mean in flight on",
    },
  },
  choose = function(ctx, peers)
    local inflight, untried = 0, 0
    for i = 1, #peers do
      if not peers[i].tried then
        inflight, untried = inflight + peers[i].inflight, untried + 1
      end
    end
    if untried == 0 then
      return nil, "everyone failed it"
    end
    -- At least one is below: not all can hold more than the mean.
    local most = math.ceil(ctx.params.bound * (inflight + 1) / untried)
    local index, best, highest = ctx.chunk.index, nil, -1
    for i = 1, #peers do
      local peer = peers[i]
      if not peer.tried and peer.inflight < most then
        local rank = shoal.hash(peer.id, index)
        if rank > highest then
          best, highest = peer, rank
        end
      end
    end
    return best
  end,
}
