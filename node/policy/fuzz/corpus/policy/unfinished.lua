return { api = 1, choose = function(ctx, peers) for i = 
