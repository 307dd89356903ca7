return function(ctx, peers) return false, ctx.download.elapsed_ms / 0 end
