return function(ctx) local t = {} t.t = t ctx.state.t = t end
