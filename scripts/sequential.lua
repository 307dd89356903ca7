-- sequential: for playing while it downloads. Chunks are begun in their order within a window; a
-- chunk that will be in time is fetched from the peer that has uploaded least, one that will not
-- from the peer that is expected to have it here first. In time means before its deadline, where
-- it has one, else before a player that began with the download and reads `bitrate` gets there.
-- Bad for the swarm: everyone wants the same chunks at the same time and the last ones stay rare;
-- a wider window is milder.
-- Source: A. Vlavianos, M. Iliofotou, M. Faloutsos, BiToS: Enhancing BitTorrent for Supporting
-- Streaming Applications, IEEE Global Internet Symposium 2006; libtorrent's piece deadlines.

-- When the chunk would be here from this peer, in milliseconds from now; `best` stands for an
-- unknown rate.
local function finish_ms(peer, size, best)
  local rate = peer.rate > 0 and peer.rate or best
  return (peer.inflight + 1) * size / rate * 1000 + peer.rtt_ms
end

-- The milliseconds until the chunk is wanted.
local function slack_ms(ctx)
  local deadline = ctx.chunk.deadline_ms
  if deadline then
    return deadline
  end
  local download = ctx.download
  local played_ms = download.elapsed_ms - ctx.params.buffer_s * 1000
  return download.done / ctx.params.bitrate * 1000 - played_ms
end

---@type shoal.Policy
return {
  api = 1,
  name = "sequential",
  description = "in order within a window; late chunks from the peer that is first to have them here",
  requires = { "order" },
  params = {
    window = {
      type = "integer", default = 32, min = 1, max = 256,
      doc = "chunks ahead of the first missing one that may be begun",
    },
    bitrate = {
      type = "number", default = 1000000, min = 1000,
      doc = "bytes of content that are played in a second",
    },
    buffer_s = {
      type = "number", default = 10, min = 0, max = 3600,
      doc = "seconds after the start of the download at which playing begins",
    },
  },
  order = function(ctx)
    return { strategy = "sequential", window = ctx.params.window }
  end,
  choose = function(ctx, peers)
    local best_rate = 1
    for i = 1, #peers do
      if peers[i].rate > best_rate then
        best_rate = peers[i].rate
      end
    end
    local size, first, relaxed = ctx.chunk.size, nil, nil
    local first_ms, relaxed_ms = nil, nil
    for i = 1, #peers do
      local peer = peers[i]
      if not peer.tried then
        local ms = finish_ms(peer, size, best_rate)
        if first == nil or ms < first_ms then
          first, first_ms = peer, ms
        end
        if relaxed == nil or peer.uploaded < relaxed.uploaded then
          relaxed, relaxed_ms = peer, ms
        end
      end
    end
    if first == nil then
      return nil, "everyone failed it"
    elseif ctx.chunk.attempts > 0 then
      return first, "tried before"
    elseif relaxed_ms > slack_ms(ctx) then
      return first, "late"
    end
    return relaxed, "in time"
  end,
}
