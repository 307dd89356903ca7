return function(ctx, peers) return shoal.argmin(peers, "uploaded"), "why" end
