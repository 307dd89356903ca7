return function(ctx, peers)
  local p = peers[1] if not p then return end
  local parts = shoal.split(p.addr, ":")
  if shoal.cidr(p.addr, "10.0.0.0/8") and shoal.glob(p.client, "sh*") and shoal.has("order") then
    metric.inc("seen") log.warn("%s %5.1f", parts[1], p.rtt_ms)
  end
  local a, b = shoal.pick2(peers)
  return shoal.weighted(peers, function(q) return q.slots end) or shoal.builtin("random", ctx, peers) or a
end
