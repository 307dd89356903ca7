return function(ctx) local t = ctx.state for i = 1, 99 do t.x = {} t = t.x end end
