if shoal.random() < 0.3 then error("unlucky") end
return function(ctx, peers) return math.random(#peers + 1) end
