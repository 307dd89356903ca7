return { api = 1, on = { tick = function(ctx) if ctx.download.endgame then local s = "x" while true do s = s .. s end end end } }
