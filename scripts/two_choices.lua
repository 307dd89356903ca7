-- two_choices: two peers at random, and of these the one with fewer chunks in flight. Nearly as
-- even as asking the least loaded of all, without every node running after the same peer when all
-- of them see the same, slightly old, numbers. Bad with few peers (it is then a coin), and where
-- peers differ much in speed: it looks at queues, not at rates.
-- Source: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001.

---@type shoal.Policy
return {
  api = 1,
  name = "two_choices",
  description = "two peers at random, the one with fewer chunks in flight",
  choose = function(_, peers)
    local untried = {}
    for i = 1, #peers do
      if not peers[i].tried then
        untried[#untried + 1] = peers[i]
      end
    end
    local from = #untried > 0 and untried or peers
    local i, j = shoal.pick2(from)
    if i == nil then
      return nil
    end
    local a, b = from[i], from[j]
    if b.inflight < a.inflight then
      return b, "fewer in flight of two"
    end
    return a, "fewer in flight of two"
  end,
}
