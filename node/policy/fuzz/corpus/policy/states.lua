return { api = 1, version = 3, migrate = function(old) return old end, choose = function(ctx, peers)
  ctx.state.cycle = ctx.state ctx.state.p = peers[1] ctx.state.f = function() end
  ctx.state[0.5], ctx.state[true], ctx.state.nan = { {} }, "\0\255", 0/0 end }
