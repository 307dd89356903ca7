return { api = 1, choose = function(ctx, peers) return ctx.download.endgame and {} or 1e300 end,
  order = function(ctx) return ctx.download.endgame and { windw = 1 } or "random" end,
  slots = function(ctx) return ctx.download.endgame and 0/0 or 1e18 end }
