return function(ctx, peers)
  table.sort(peers, function(a, b) return a.rate > b.rate end)
  local n = #peers for i = 2, n do peers[i] = nil end
  return peers[1], shoal.hash(tostring(n))
end
