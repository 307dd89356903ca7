-- Peers and the context: what a policy sees of a decision or an event, read-only.

local known = {}                 -- the table of a peer → its connection
local count = 0                  -- how many candidates there are in `shadow`

-- Until a policy reads or writes an element of `peers` this is an empty table that knows its length:
-- `shoal.argmin(peers, "rate")` needs no more. From then on it is filled for every decision, which
-- costs less than a detour for every element.
local filling = false
local function fixed(key)
  fail("peers has a fixed size: cannot set [" .. sub(show(key), 1, 64) .. "]")
end
local filled_meta = {
  __newindex = function(_, key, value)
    if not filling then
      fixed(key)
    end
    rawset(peers, key, value)
  end,
}

-- Makes the list say what the host wrote, whatever the policy left there.
local function fill_peers()
  filling = true
  move(shadow, 1, count, 1, peers)
  for i = count + 1, filled or 0 do
    peers[i] = nil
  end
  filled, filling = count, false
end

local function begin_filling()
  setmetatable(peers, filled_meta)
  fill_peers()
end

setmetatable(peers, {
  __len = function()
    return count
  end,
  __index = function(_, key)
    begin_filling()
    return peers[key]
  end,
  __newindex = function(_, key, value)
    begin_filling()
    peers[key] = value
  end,
})

-- Moves the candidates after `last`, of `total`, to the places after `upto`.
local function shift(last, upto, total)
  move(shadow, last + 1, total, upto + 1)
  for i = upto + total - last + 1, total do
    shadow[i] = nil
  end
end

local function fill(at, a, b, c, d, e, f, g, h)
  shadow[at], shadow[at + 1], shadow[at + 2], shadow[at + 3] = a, b, c, d
  shadow[at + 4], shadow[at + 5], shadow[at + 6], shadow[at + 7] = e, f, g, h
end

local peer_fields = {}
local function refuse_peer_write(_, key)
  fail("peer is read-only: cannot set '" .. sub(show(key), 1, 64) .. "'; keep notes in ctx.state, "
    .. "by peer.id")
end
local function refuse_label_write(_, key)
  fail("peer.labels is read-only: cannot set '" .. sub(show(key), 1, 64) .. "'")
end
local peer_meta = {
  __index = function(_, key)
    unknown("peer has no field", key, peer_fields)
  end,
}

local function new_peer(conn, id, addr, client)
  local data = setmetatable({
    id = id, addr = addr, client = client, labels = false, uploaded = 0, downloaded = 0,
    inflight = 0, slots = 0, rate = 0.0, rtt_ms = 0.0, failures = 0, fail_streak = 0,
    tried = false, is_seed = false, estimated = false,
  }, peer_meta)
  if next(peer_fields) == nil then
    for name in next, data do
      peer_fields[name] = true
    end
  end
  local proxy = setmetatable({}, { __index = data, __newindex = refuse_peer_write })
  known[proxy] = conn
  return proxy, data
end

local function set_labels(data, labels)
  data.labels = setmetatable({}, { __index = labels, __newindex = refuse_label_write })
end

-- What changes often, of one peer and of four; and what seldom does.
local function patch_hot(data, uploaded, inflight, rate, rtt_ms)
  data.uploaded, data.inflight, data.rate, data.rtt_ms = uploaded, inflight, rate, rtt_ms
end

local function patch_four(
  a, a_uploaded, a_inflight, a_rate, a_rtt_ms,
  b, b_uploaded, b_inflight, b_rate, b_rtt_ms,
  c, c_uploaded, c_inflight, c_rate, c_rtt_ms,
  d, d_uploaded, d_inflight, d_rate, d_rtt_ms)
  a.uploaded, a.inflight, a.rate, a.rtt_ms = a_uploaded, a_inflight, a_rate, a_rtt_ms
  b.uploaded, b.inflight, b.rate, b.rtt_ms = b_uploaded, b_inflight, b_rate, b_rtt_ms
  c.uploaded, c.inflight, c.rate, c.rtt_ms = c_uploaded, c_inflight, c_rate, c_rtt_ms
  d.uploaded, d.inflight, d.rate, d.rtt_ms = d_uploaded, d_inflight, d_rate, d_rtt_ms
end

local function patch_cold(data, downloaded, slots, failures, fail_streak, is_seed, estimated)
  data.downloaded, data.slots, data.failures = downloaded, slots, failures
  data.fail_streak, data.is_seed, data.estimated = fail_streak, is_seed, estimated
end

local function drop_peer(proxy)
  known[proxy] = nil
end

-- What changes with every decision is fetched when it is first looked at: most policies do not
-- look at the chunk, and few at the progress of the download.
local chunk_data = {
  index = 0, name = "", size = 0, offset = 0, availability = 0, attempts = 0, priority = 0,
}
setmetatable(chunk_data, {
  __index = function(_, key)
    if key ~= "deadline_ms" then
      unknown("chunk has no field", key, chunk_data)
    end
  end,
})
local download_data = strict({
  id = "", total = 0, done = 0, rate = 0.0, endgame = false, elapsed_ms = 0, name = "",
}, "download has no field")
local params_data = strict({}, "there is no parameter")
local chunk_view, download_view = view(chunk_data, "ctx.chunk"), view(download_data, "ctx.download")
local chunk_meta, download_meta = getmetatable(chunk_view), getmetatable(download_view)
local at = 0                                        -- the chunk, as the host counts it
local chunk_shown, progress_shown = true, true      -- the tables say what is so

local ctx_data = {
  chunk = chunk_view, download = download_view, params = view(params_data, "ctx.params"),
  state = {}, now_ms = 0, sampled = false,
}
local ctx_fields = {}
for name in next, ctx_data do
  ctx_fields[name] = true
end

local function set_chunk(
  index, name, size, offset, availability, attempts, priority, deadline_ms, sampled)
  chunk_meta.__index, chunk_shown = chunk_data, true
  if index then
    chunk_data.index, chunk_data.name, chunk_data.size = index, name, size
    chunk_data.offset, chunk_data.availability = offset, availability
    chunk_data.attempts, chunk_data.priority = attempts, priority
    chunk_data.deadline_ms, ctx_data.sampled = deadline_ms, sampled
  end
end

local function set_progress(done, rate, endgame, elapsed_ms, now_ms)
  download_meta.__index, progress_shown = download_data, true
  if done then
    download_data.done, download_data.rate, download_data.endgame = done, rate, endgame
    download_data.elapsed_ms, ctx_data.now_ms = elapsed_ms, now_ms
  end
end

local function show_all()
  if not chunk_shown then
    set_chunk(host.chunk(at))
  end
  if not progress_shown then
    set_progress(host.progress())
  end
end
show_host_tables = show_all

local function stale_chunk(_, key)
  set_chunk(host.chunk(at))
  return chunk_data[key]
end
local function stale_download(_, key)
  set_progress(host.progress())
  return download_data[key]
end

setmetatable(ctx_data, {
  __index = function(_, key)
    if key == "now_ms" or key == "sampled" then
      show_all()
      return rawget(ctx_data, key)
    elseif key ~= "chunk" then
      unknown("ctx has no field", key, ctx_fields)
    end
  end,
})
local ctx = view(ctx_data, "ctx")

local ev_data, ev_fields = {}, { peer = true, chunk = true, bytes = true, ms = true, kind = true }
setmetatable(ev_data, {
  __index = function(_, key)
    if not (type(key) == "string" and rawget(ev_fields, key)) then
      unknown("ev has no field", key, ev_fields)
    end
  end,
})
local ev = view(ev_data, "ev")

local function set_download(id, name, total, state)
  download_data.id, download_data.name, download_data.total = id, name, total
  ctx_data.state = state
end

-- Begins a decision among `n` candidates.
local function present(n, chunk)
  count, at = n, chunk
  if chunk_shown then
    chunk_meta.__index, ctx_data.chunk = stale_chunk, chunk_view
    ctx_data.sampled, chunk_shown = nil, false
  end
  if progress_shown then
    download_meta.__index, ctx_data.now_ms, progress_shown = stale_download, nil, false
  end
  if filled then
    fill_peers()
  end
end

-- What an event brings; without a chunk there is no ctx.chunk either.
local function set_event(peer, chunk, bytes, ms, kind)
  ctx_data.chunk, ctx_data.sampled = chunk and chunk_view or nil, false
  chunk_meta.__index, chunk_shown = chunk_data, true
  ev_data.peer, ev_data.chunk = peer, ctx_data.chunk
  ev_data.bytes, ev_data.ms, ev_data.kind = bytes, ms, kind
end
