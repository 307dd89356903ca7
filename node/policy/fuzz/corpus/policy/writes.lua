return function(ctx, peers) if ctx.download.endgame then peers[1].uploaded = 0 end ctx.state.x = ctx.chunk.index end
