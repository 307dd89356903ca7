-- @NAME@: peers of our own zone first, while they have slots left.
--
-- Say here what the policy is for, when it is bad, and where the idea comes from.
--
-- The node asks it for every chunk: from which peer? Whatever it does, the download goes on: where
-- it fails, has no opinion or takes too long, the default policy decides.
--
--   shoalctl policy check @NAME@.lua                  what the node finds wrong with it
--   shoalctl policy test @NAME@_test.lua              its tests
--   shoalctl policy set @NAME@.lua --shadow           let it run along, without effect, and then
--   shoalctl policy status                            ... see where it would have differed
--   shoalctl policy set @NAME@.lua --set zone=b       put it in force, with a parameter
--   shoalctl policy explain                           why the next chunk goes where it goes

---@type shoal.Policy
return {
  api = 1,
  name = "@NAME@",
  description = "our zone first, while it has slots left",

  -- What the operator may set: --set zone=b. A type is number, integer, string, boolean or enum
  -- (with `values`); a number may have `min` and `max`.
  params = {
    zone = { type = "string", default = "a", doc = "our zone, as the label `zone` of its peers" },
    bonus = {
      type = "number", default = 4, min = 1, max = 100,
      doc = "how many free slots elsewhere one free slot in our zone is worth",
    },
  },

  -- Features without which it makes no sense: the policy is refused where one is missing.
  -- requires = { "labels" },

  -- Called for every candidate: a number, the highest wins; nil means "not this one", and nil for
  -- all of them "no opinion". Equal scores go to the peer that has uploaded least.
  -- A candidate has the chunk, does not choke us and has a free slot. The fields of `ctx` and of
  -- `peer` stand in types/shoal.d.lua.
  score = function(ctx, peer)
    if peer.tried then -- it failed this very chunk
      return nil
    end
    local near = peer.labels.zone == ctx.params.zone
    return (peer.slots - peer.inflight) * (near and ctx.params.bonus or 1)
  end,

  -- Instead of `score`: sees all candidates at once and returns an index, and a reason for trace and
  -- explain. nil: no opinion. false, ms: nobody now, ask again after so many milliseconds.
  -- choose = function(ctx, peers)
  --   return shoal.argmax(peers, "rate"), "the fastest we know"
  -- end,

  -- Once per download, before its first decision. `ctx.state` is a table of the policy's own, one
  -- per download, of plain data.
  -- init = function(ctx)
  --   ctx.state.served = {}
  -- end,

  -- Which chunk is next: "rarest", "sequential" or "random". Asked at the start and about once a
  -- second, not for every chunk.
  -- order = function(ctx)
  --   return ctx.download.endgame and "random" or "rarest"
  -- end,

  -- How many chunks we may have outstanding at a peer; the node keeps it within its own limits.
  -- slots = function(ctx, peer)
  --   return peer.fail_streak > 0 and 1 or 8
  -- end,

  -- What happened. Also peer_added, peer_removed (ev.peer), chunk_failed (ev.kind: "timeout",
  -- "hash", "disconnect", "reject"), tick (about once a second) and finished.
  -- on = {
  --   chunk_done = function(ctx, ev)
  --     local served = ctx.state.served
  --     served[ev.peer.id] = (served[ev.peer.id] or 0) + ev.bytes
  --   end,
  -- },

  -- The shape of ctx.state. Raise it when the shape changes; `migrate` makes the new from the old,
  -- else the policy begins with an empty one.
  -- version = 2,
  -- migrate = function(old, from_version)
  --   return { served = old.bytes or {} }
  -- end,
}
