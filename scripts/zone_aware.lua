-- zone_aware: stay inside our own zone, and bring in no more than our part of what it needs. In a
-- zone of n nodes each chunk has to cross the border once: each node fetches the nth part outside
-- and has the rest from its neighbours. So that neighbours do not bring in the same, a node is open
-- to one peer outside at a time, drawn by lot every second, no seed while there is another, and for
-- one chunk at a time. Where the zone has a seed nothing is brought in, and the seed is asked for
-- little at a time, so that neighbours get different chunks of it to pass on. When nothing comes for
-- some seconds the zone is saturated or late, and everybody outside is open until it gives again.
-- Bad where zones differ much in speed (a fast one waits for a slow one), and where few chunks are
-- large: a second is then too short to learn from. Peers without a zone count as another zone. The
-- node keeps two connections out of a policy's reach: a zone cannot starve itself altogether.
-- Source: R. Bindal et al., Improving Traffic Locality in BitTorrent via Biased Neighbor Selection,
-- ICDCS 2006: stay inside, with few neighbours outside. That each brings in its part is ours.

local UNLIMITED = 65535

local function is_near(ctx, peer)
  return peer.labels.zone == ctx.params.zone
end

-- The most chunks in flight at a peer.
local function width_of(ctx, peer)
  local state = ctx.state
  if is_near(ctx, peer) then
    return peer.is_seed and state.plain > 0 and ctx.params.seed_width or UNLIMITED
  elseif state.alone or state.late then
    return UNLIMITED
  end
  return peer.id == state.gate and ctx.params.width or 0
end

-- Whether `a` is asked rather than `b`: one that has not failed the chunk, then the zone, then one
-- that is no seed, then the shorter queue as a share of the slots.
local function before(ctx, a, b)
  if a.tried ~= b.tried then
    return not a.tried
  end
  local near_a, near_b = is_near(ctx, a), is_near(ctx, b)
  if near_a ~= near_b then
    return near_a
  elseif a.is_seed ~= b.is_seed then
    return not a.is_seed
  end
  local queue_a, queue_b = a.inflight * b.slots, b.inflight * a.slots
  if queue_a ~= queue_b then
    return queue_a < queue_b
  end
  return a.uploaded < b.uploaded
end

local NEAR, NEAR_SEED, FAR, FAR_SEED = 1, 2, 3, 4

-- Keeps what kind of peer this is: `ids` and `kinds` side by side, so that counting needs no sort,
-- and `places` to find one.
local function note(ctx, peer)
  local state = ctx.state
  local place = state.places[peer.id]
  if place == nil then
    place = #state.ids + 1
    state.ids[place], state.places[peer.id] = peer.id, place
  end
  local near = is_near(ctx, peer)
  state.kinds[place] = (near and NEAR or FAR) + (peer.is_seed and 1 or 0)
  state.alone = state.alone and not near
end

local function forget(ctx, peer)
  local ids, kinds, places = ctx.state.ids, ctx.state.kinds, ctx.state.places
  local place, last = places[peer.id], #ids
  if place then
    ids[place], kinds[place], places[ids[last]] = ids[last], kinds[last], place
    ids[last], kinds[last], places[peer.id] = nil, nil, nil
  end
end

-- How many there are of each kind, and one outside at random: no seed where there is another.
local function census(state)
  local counts, drawn = { 0, 0, 0, 0 }, {}
  for place = 1, #state.ids do
    local kind = state.kinds[place]
    counts[kind] = counts[kind] + 1
    if kind >= FAR and math.random(counts[kind]) == 1 then
      drawn[kind] = state.ids[place]
    end
  end
  return counts, drawn[FAR] or drawn[FAR_SEED]
end

---@type shoal.Policy
return {
  api = 1,
  name = "zone_aware",
  description = "our zone first; of what it needs from outside, each node fetches its part",
  requires = { "events", "labels", "order", "slots", "state" },
  params = {
    zone = { type = "string", default = "a", doc = "our zone, as the label `zone` of its peers" },
    share = {
      type = "number", default = 1.4, min = 0, max = 100,
      doc = "how many times the nth part we may fetch outside, for neighbours that are slow",
    },
    width = {
      type = "integer", default = 1, min = 1, max = 64,
      doc = "chunks in flight at the one peer outside that is open",
    },
    seed_width = {
      type = "integer", default = 3, min = 1, max = 65535,
      doc = "chunks in flight at a seed of our zone while neighbours are there that are none",
    },
    patience_s = {
      type = "integer", default = 3, min = 1, max = 3600,
      doc = "seconds without a single chunk after which the zone is late and everybody is open",
    },
  },
  init = function(ctx)
    local state = ctx.state
    state.ids, state.kinds, state.places = {}, {}, {}
    -- Bytes that came from each side, now and a second ago.
    state.inside, state.outside = 0, 0
    state.inside_before, state.outside_before = 0, 0
    -- Neighbours that are no seeds; whether there is no neighbour at all; whether the zone is late
    -- and for how long nothing came; the one outside that is open.
    state.plain, state.alone, state.late, state.quiet_s, state.gate = 0, true, false, 0, nil
  end,
  order = function()
    -- What is fetched twice at the end crosses the border twice.
    return { strategy = "rarest", duplicate = false }
  end,
  slots = function(ctx, peer)
    -- Every second: a peer may become a seed, and its label may come late.
    note(ctx, peer)
    return width_of(ctx, peer)
  end,
  on = {
    peer_removed = function(ctx, ev)
      forget(ctx, ev.peer)
    end,
    chunk_done = function(ctx, ev)
      local side = is_near(ctx, ev.peer) and "inside" or "outside"
      ctx.state[side] = ctx.state[side] + ev.bytes
    end,
    tick = function(ctx)
      local state = ctx.state
      local counts, drawn = census(state)
      state.plain, state.alone = counts[NEAR], counts[NEAR] + counts[NEAR_SEED] == 0
      local idle = state.inside == state.inside_before
      local quiet = idle and state.outside == state.outside_before
      state.inside_before, state.outside_before = state.inside, state.outside
      state.quiet_s = quiet and state.quiet_s + 1 or 0
      state.late = state.quiet_s >= ctx.params.patience_s
      local part = (state.inside + state.outside) / (state.plain + 1) * ctx.params.share
      local wanted = counts[NEAR_SEED] == 0 and (idle or state.outside <= part)
      state.gate = wanted and drawn or nil
    end,
  },
  choose = function(ctx, peers)
    local best = peers[1]
    for i = 2, #peers do
      if before(ctx, peers[i], best) then
        best = peers[i]
      end
    end
    if best == nil or is_near(ctx, best) then
      return best, "in the zone"
    end
    return best, ctx.state.late and "the zone is late" or "our part of what the zone needs"
  end,
}
