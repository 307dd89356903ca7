return { api = 1, choose = function(ctx, peers) if ctx.download.endgame then error({ "\27[2J" }) end end,
  on = { tick = function(ctx, ev) return ctx.download.endgame and ev.bites end } }
