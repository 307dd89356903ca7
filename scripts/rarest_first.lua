-- rarest_first: begin the chunks that the fewest peers have, and spare those peers: a chunk that
-- others have too is not fetched from a seed, because the seeds alone can serve what is rare. Keeps
-- every chunk alive when peers leave, and lets peers always have something to trade. Bad for
-- playing while it downloads (chunks come in no order), and where seeds are the only fast peers.
-- Source: B. Cohen, Incentives Build Robustness in BitTorrent, 2003; A. Legout et al., Rarest First
-- and Choke Algorithms Are Enough, IMC 2006.

-- Whether `a` is asked rather than `b`; `rare` tells that seeds need not be spared.
local function before(a, b, rare)
  if a.tried ~= b.tried then
    return not a.tried
  elseif not rare and a.is_seed ~= b.is_seed then
    return not a.is_seed
  end
  -- The shorter queue, as a share of the slots: a / b without a division by a peer without slots.
  local queue_a, queue_b = a.inflight * b.slots, b.inflight * a.slots
  if queue_a ~= queue_b then
    return queue_a < queue_b
  elseif a.uploaded ~= b.uploaded then
    return a.uploaded < b.uploaded
  end
  return a.id < b.id
end

---@type shoal.Policy
return {
  api = 1,
  name = "rarest_first",
  description = "the rarest chunks first, from peers that are not needed for rarer ones",
  requires = { "order" },
  params = {
    rare = {
      type = "integer", default = 2, min = 0, max = 1000,
      doc = "chunks that at most so many peers have are fetched from seeds too",
    },
  },
  order = function()
    return "rarest"
  end,
  choose = function(ctx, peers)
    local rare = ctx.chunk.availability <= ctx.params.rare
    local best = peers[1]
    for i = 2, #peers do
      if before(peers[i], best, rare) then
        best = peers[i]
      end
    end
    return best, rare and "rare" or "common"
  end,
}
