-- What the host calls, and what is returned to it.

local CHOSEN, ABSTAINED, DEFERRED, BROKEN, RAW = 1, 2, 3, 4, 5

-- What a choice means that is neither an index nor a peer.
local function settle(choice, second)
  if choice == nil then
    return ABSTAINED, nil, nil
  end
  local kind = type(choice)
  if kind == "number" then
    local index = tointeger(choice)
    if index and index >= 1 and index <= count then
      local conn = known[peers[index]]
      if conn then
        return CHOSEN, conn, second
      end
      return BROKEN, "returned " .. index .. ", but peers[" .. index .. "] is no longer a peer", nil
    end
    return BROKEN, "returned " .. describe(choice) .. ", expected 1.." .. count, nil
  elseif kind == "table" then
    return BROKEN, "returned a table that is not one of peers", nil
  elseif choice == false then
    if second ~= nil and (type(second) ~= "number" or second ~= second) then
      return BROKEN, "returned false and " .. describe(second) .. ", expected milliseconds", nil
    end
    return DEFERRED, second, nil
  end
  return BROKEN, "returned " .. describe(choice) .. ", expected an index, a peer, false or nil", nil
end

local function bind_choose(choose)
  return function(n, chunk)
    present(n, chunk)
    local choice, second = choose(ctx, peers)
    local conn = known[choice]
    if conn then
      return CHOSEN, conn, second
    elseif filled then
      conn = known[peers[choice]]
      if conn then
        return CHOSEN, conn, second
      end
      return settle(choice, second)
    end
    return RAW, choice, second
  end
end

-- Where there is a table `scores` every score is left in it.
local function bind_score(score, scores)
  return function(n, chunk)
    present(n, chunk)
    local best, most = nil, nil
    for i = 1, n do
      local peer = shadow[i]
      local value = score(ctx, peer)
      if scores then
        scores[i] = type(value) == "number" and value or nil
      end
      if value ~= nil then
        if type(value) ~= "number" or value ~= value then
          return BROKEN, "returned " .. describe(value) .. ", expected a number or nil", nil
        end
        if best == nil or value > most or (value == most and tie_before(peer, best)) then
          best, most = peer, value
        end
      end
    end
    if best == nil then
      return ABSTAINED, nil, nil
    end
    return CHOSEN, known[best], nil
  end
end

return {
  env = env, string_meta = { __index = string_library, __metatable = false }, shadow = shadow,
  params = params_data, ctx = ctx, ev = ev, shift = shift, fill = fill, new_peer = new_peer,
  set_labels = set_labels, patch_hot = patch_hot, patch_four = patch_four,
  patch_cold = patch_cold, drop_peer = drop_peer, set_chunk = set_chunk, set_event = set_event,
  set_download = set_download, set_progress = set_progress, settle = settle,
  bind_choose = bind_choose, bind_score = bind_score,
}
