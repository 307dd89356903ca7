-- The inside of the sandbox: everything a policy can reach, and the calls the host makes into it.
-- Runs once in a fresh VM, before the policy, with the real globals; the policy never sees those.
-- What the policy gets here is written in Lua where it loops, so that the count hook sees the loop;
-- a C function is handed out only where its work is bounded by the size of its arguments.
-- Errors are raised without a position: the host takes the line from the policy's own frame.

local host = ...

local error, getmetatable, ipairs, next, rawget, rawset = error, getmetatable, ipairs, next, rawget,
  rawset
local select, setmetatable, tonumber, tostring, type = select, setmetatable, tonumber, tostring, type
local huge, mtype, random, tointeger = math.huge, math.type, math.random, math.tointeger
local byte, char, find, format, gsub, lower, sub, upper =
  string.byte, string.char, string.find, string.format, string.gsub, string.lower, string.sub,
  string.upper
local concat, sort, unpack = table.concat, table.sort, table.unpack

local text_max, array_max, values_max, format_max = 65536, 65536, 256, 4096

math.randomseed(host.seed_high, host.seed_low)

local function fail(message)
  error(message, 0)
end

-- Text of any value, without addresses: they differ from run to run.
local function show(value)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value)
  end
  return kind
end

-- A value and its type, for messages.
local function describe(value)
  local kind = type(value)
  if kind == "number" then
    if value ~= value then
      return "nan (a number)"
    end
    return tostring(value) .. (mtype(value) == "integer" and " (an integer)" or " (a number)")
  elseif kind == "string" then
    return "'" .. sub(value, 1, 40) .. "' (a string)"
  elseif kind == "boolean" then
    return tostring(value) .. " (a boolean)"
  elseif kind == "nil" then
    return "nil"
  end
  return "a " .. kind
end

local function expect(value, kind, position, name)
  if type(value) ~= kind then
    fail("bad argument #" .. position .. " to '" .. name .. "' (" .. kind .. " expected, got "
      .. type(value) .. ")")
  end
  return value
end

local function whole(value, position, name)
  local integer = mtype(value) and tointeger(value)
  if not integer then
    fail("bad argument #" .. position .. " to '" .. name .. "' (integer expected, got "
      .. describe(value) .. ")")
  end
  return integer
end

local function text(value, position, name)
  if type(value) == "number" then
    value = tostring(value)
  end
  expect(value, "string", position, name)
  if #value > text_max then
    fail("bad argument #" .. position .. " to '" .. name .. "' (a string of " .. #value
      .. " bytes; at most " .. text_max .. ")")
  end
  return value
end

-- Read-only tables -------------------------------------------------------------------------------

local function unknown(phrase, key, data)
  local names = {}
  for name in next, data do
    if type(name) == "string" then
      names[#names + 1] = name
    end
  end
  sort(names)
  fail(host.unknown(phrase, sub(show(key), 1, 64), concat(names, "\n")))
end

local function strict(data, phrase)
  return setmetatable(data, {
    __index = function(_, key)
      unknown(phrase, key, data)
    end,
  })
end

-- An empty table that reads from `data` and refuses writes.
local function view(data, name)
  return setmetatable({}, {
    __index = data,
    __newindex = function(_, key)
      fail(name .. " is read-only: cannot set '" .. sub(show(key), 1, 64) .. "'")
    end,
  })
end

-- The library ------------------------------------------------------------------------------------

local where = "; see scripts/README.md)"

local function absent(name, reason)
  local message = "'" .. name .. "' is not available in policies (" .. reason .. where
  return function()
    fail(message)
  end
end

local function absent_table(name, reason)
  local stub = absent(name, reason)
  return setmetatable({}, { __index = stub, __newindex = stub, __call = stub })
end

-- Key order: numbers, then strings, then booleans. Tables and functions have no stable order.
local ranks = { number = 1, string = 2, boolean = 3 }
local function key_before(a, b)
  local ra, rb = ranks[type(a)], ranks[type(b)]
  if ra ~= rb then
    return ra < rb
  elseif ra == 3 then
    return not a and b
  end
  return a < b
end

local function sorted_pairs(t)
  expect(t, "table", 1, "pairs")
  local meta = getmetatable(t)
  local data = meta and type(meta.__index) == "table" and meta.__index or t
  local keys, n = {}, 0
  for key in next, data do
    if not ranks[type(key)] then
      fail("pairs: a key is a " .. type(key) .. ", which has no stable order; use a string or a "
        .. "number, such as peer.id")
    end
    n = n + 1
    keys[n] = key
  end
  sort(keys, key_before)
  local i = 0
  return function()
    while true do
      i = i + 1
      local key = keys[i]
      if key == nil then
        return nil
      end
      local value = data[key]
      if value ~= nil then
        return key, value
      end
    end
  end
end

local function safe_format(name, fmt, ...)
  fmt = text(fmt, 1, name)
  if #fmt > format_max then
    fail(name .. ": the format has " .. #fmt .. " bytes; at most " .. format_max)
  end
  if find(gsub(fmt, "%%%%", ""), "%%[-+ #0.%d]*[pq]") then
    fail(name .. ": '%p' and '%q' are not available in policies")
  end
  local n = select("#", ...)
  if n > values_max then
    fail(name .. ": more than " .. values_max .. " arguments")
  end
  local args = { ... }
  for i = 1, n do
    local kind = type(args[i])
    if kind == "string" then
      text(args[i], i + 1, name)
    elseif kind ~= "number" then
      args[i] = show(args[i])
    end
  end
  return (format(fmt, unpack(args, 1, n)))
end

local string_library = strict({
  format = function(fmt, ...)
    return safe_format("format", fmt, ...)
  end,
  sub = function(s, i, j)
    return sub(text(s, 1, "sub"), whole(i, 2, "sub"), j == nil and -1 or whole(j, 3, "sub"))
  end,
  byte = function(s, i, j)
    i = i == nil and 1 or whole(i, 2, "byte")
    return byte(sub(text(s, 1, "byte"), i, j == nil and i or whole(j, 3, "byte")), 1, values_max)
  end,
  char = function(...)
    return (char(...))
  end,
  lower = function(s)
    return lower(text(s, 1, "lower"))
  end,
  upper = function(s)
    return upper(text(s, 1, "upper"))
  end,
  len = function(s)
    return #expect(s, "string", 1, "len")
  end,
}, "string has no")
for _, name in ipairs({ "rep", "dump", "pack", "unpack", "reverse" }) do
  string_library[name] = absent("string." .. name, "its cost has no bound")
end
for _, name in ipairs({ "find", "match", "gmatch", "gsub" }) do
  string_library[name] = absent(
    "string." .. name, "patterns have no bound; use shoal.split, shoal.starts_with, shoal.glob")
end

local table_library = strict({
  insert = function(t, ...)
    expect(t, "table", 1, "insert")
    local n, count = select("#", ...), #t
    if n == 1 then
      t[count + 1] = (...)
    elseif n == 2 then
      local position, value = ...
      position = whole(position, 2, "insert")
      if position < 1 or position > count + 1 then
        fail("bad argument #2 to 'insert' (position " .. position .. " is not in 1.." .. count + 1
          .. ")")
      end
      for i = count, position, -1 do
        t[i + 1] = t[i]
      end
      t[position] = value
    else
      fail("wrong number of arguments to 'insert'")
    end
  end,
  remove = function(t, position)
    expect(t, "table", 1, "remove")
    local count = #t
    if position == nil then
      position = count
      if count == 0 then
        return nil
      end
    end
    position = whole(position, 2, "remove")
    if count == 0 and (position == 0 or position == 1) then
      return nil
    elseif position < 1 or position > count + 1 then
      fail("bad argument #2 to 'remove' (position " .. position .. " is not in 1.." .. count .. ")")
    end
    local value = t[position]
    for i = position, count - 1 do
      t[i] = t[i + 1]
    end
    if position <= count then
      t[count] = nil
    end
    return value
  end,
  concat = function(t, separator, i, j)
    expect(t, "table", 1, "concat")
    separator = separator == nil and "" or text(separator, 2, "concat")
    i = i == nil and 1 or whole(i, 3, "concat")
    j = j == nil and #t or whole(j, 4, "concat")
    if i > j then
      return ""
    elseif i < 1 or j > array_max then
      fail("concat: " .. i .. ".." .. j .. " is not in 1.." .. array_max)
    end
    return concat(t, separator, i, j)
  end,
  sort = function(t, before)
    expect(t, "table", 1, "sort")
    if #t > array_max then
      fail("sort: " .. #t .. " elements; at most " .. array_max)
    end
    -- Always a Lua function: a C function as the comparator would hide the loop from the hook.
    if before == nil then
      sort(t, function(a, b)
        return a < b
      end)
    else
      expect(before, "function", 2, "sort")
      sort(t, function(a, b)
        local result = before(a, b)
        return result
      end)
    end
  end,
  unpack = function(t, i, j)
    expect(t, "table", 1, "unpack")
    i = i == nil and 1 or whole(i, 2, "unpack")
    j = j == nil and #t or whole(j, 3, "unpack")
    if i <= j and (i < 1 or j > array_max or j - i >= values_max) then
      fail("unpack: " .. i .. ".." .. j .. " is too many results; at most " .. values_max)
    end
    return unpack(t, i, j)
  end,
}, "table has no")
table_library.move = absent("table.move", "its cost has no bound; write the loop")
table_library.pack = absent("table.pack", "write { ... }")

local math_library = strict({}, "math has no")
for _, name in ipairs({
  "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max",
  "maxinteger", "min", "mininteger", "modf", "pi", "rad", "random", "sin", "sqrt", "tan",
  "tointeger", "type", "ult",
}) do
  math_library[name] = math[name]
end
math_library.randomseed = absent("math.randomseed", "the node seeds it, so that runs repeat")

-- Peers and the context --------------------------------------------------------------------------

local known = {}                 -- the table of a peer → its connection
local shadow = {}                -- the candidates of this decision, as the host wrote them
local peers, filled = {}, 0      -- what the policy sees of them
local sealed_peers = {
  __newindex = function(_, key)
    fail("peers has a fixed size: cannot set [" .. sub(show(key), 1, 64) .. "]")
  end,
}
setmetatable(peers, sealed_peers)

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

local function patch_peer(
  data, uploaded, downloaded, inflight, slots, rate, rtt_ms, failures, fail_streak, is_seed,
  estimated)
  data.uploaded, data.downloaded, data.inflight, data.slots = uploaded, downloaded, inflight, slots
  data.rate, data.rtt_ms, data.failures, data.fail_streak = rate, rtt_ms, failures, fail_streak
  data.is_seed, data.estimated = is_seed, estimated
end

local function drop_peer(proxy)
  known[proxy] = nil
end

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
local chunk_view = view(chunk_data, "ctx.chunk")
local ctx_data = strict({
  chunk = chunk_view, download = view(download_data, "ctx.download"),
  params = view(params_data, "ctx.params"), state = {}, now_ms = 0, sampled = false,
}, "ctx has no field")
local ctx = view(ctx_data, "ctx")

local function set_chunk(
  index, name, size, offset, availability, attempts, priority, deadline_ms, sampled)
  chunk_data.index, chunk_data.name, chunk_data.size = index, name, size
  chunk_data.offset, chunk_data.availability, chunk_data.attempts = offset, availability, attempts
  chunk_data.priority, chunk_data.deadline_ms = priority, deadline_ms
  ctx_data.chunk, ctx_data.sampled = chunk_view, sampled
end

local function set_download(id, name, total, done, rate, endgame, elapsed_ms, now_ms, state)
  download_data.id, download_data.name = id, name
  download_data.total, download_data.done, download_data.rate = total, done, rate
  download_data.endgame, download_data.elapsed_ms = endgame, elapsed_ms
  ctx_data.now_ms, ctx_data.state = now_ms, state
end

-- The host library -------------------------------------------------------------------------------

-- How ties are broken everywhere: lowest uploaded, fewest in flight, lowest id.
local function tie_before(a, b)
  if not (known[a] and known[b]) then
    return false
  elseif a.uploaded ~= b.uploaded then
    return a.uploaded < b.uploaded
  elseif a.inflight ~= b.inflight then
    return a.inflight < b.inflight
  end
  return a.id < b.id
end

local function measure(name, value)
  if type(value) ~= "number" or value ~= value then
    fail(name .. ": the value of a peer is " .. describe(value) .. "; expected a number")
  end
  return value
end

local function argmin(list, key)
  expect(list, "table", 1, "argmin")
  local field = type(key) == "string" or not expect(key, "function", 2, "argmin")
  local best, least = nil, nil
  for i = 1, #list do
    local value
    if field then
      value = list[i][key]
    else
      value = key(list[i])
    end
    if value ~= nil then
      measure("argmin", value)
      if best == nil or value < least
        or (value == least and tie_before(list[i], list[best])) then
        best, least = i, value
      end
    end
  end
  return best
end

local function argmax(list, key)
  expect(list, "table", 1, "argmax")
  local field = type(key) == "string" or not expect(key, "function", 2, "argmax")
  local best, most = nil, nil
  for i = 1, #list do
    local value
    if field then
      value = list[i][key]
    else
      value = key(list[i])
    end
    if value ~= nil then
      measure("argmax", value)
      if best == nil or value > most
        or (value == most and tie_before(list[i], list[best])) then
        best, most = i, value
      end
    end
  end
  return best
end

local function weighted(list, weight)
  expect(list, "table", 1, "weighted")
  expect(weight, "function", 2, "weighted")
  local weights, total = {}, 0.0
  for i = 1, #list do
    local w = weight(list[i])
    w = w == nil and 0 or measure("weighted", w)
    if w < 0 then
      fail("weighted: the weight of a peer is " .. describe(w) .. "; expected at least 0")
    end
    weights[i], total = w, total + w
  end
  if total == huge then
    fail("weighted: the weights have no finite sum")
  end
  local left, last = random() * total, nil
  for i = 1, #list do
    if weights[i] > 0 then
      last, left = i, left - weights[i]
      if left < 0 then
        return i
      end
    end
  end
  return last
end

local function pick2(list)
  expect(list, "table", 1, "pick2")
  local n = #list
  if n == 0 then
    return nil, nil
  elseif n == 1 then
    return 1, 1
  end
  local a, b = random(n), random(n - 1)
  return a, b >= a and b + 1 or b
end

local function builtin(name, _, list)
  expect(name, "string", 1, "builtin")
  expect(list, "table", 3, "builtin")
  local ids = nil
  if list ~= peers then
    if #list > values_max then
      fail("builtin: " .. #list .. " peers; at most " .. values_max)
    end
    ids = {}
    for i = 1, #list do
      ids[i] = known[list[i]]
      if ids[i] == nil then
        fail("builtin: element " .. i .. " is " .. describe(list[i]) .. ", not a peer")
      end
    end
  end
  local conn = host.builtin(name, ids)
  if conn ~= nil then
    for i = 1, #list do
      if known[list[i]] == conn then
        return i
      end
    end
  end
  return nil
end

local function split(s, separator)
  s, separator = text(s, 1, "split"), text(separator, 2, "split")
  if #separator < 1 or #separator > 16 then
    fail("split: the separator has " .. #separator .. " bytes; 1 to 16")
  end
  local parts, from = {}, 1
  while true do
    if #parts >= 1024 then
      fail("split: more than 1024 parts")
    end
    local first, last = find(s, separator, from, true)
    if not first then
      parts[#parts + 1] = sub(s, from)
      return parts
    end
    parts[#parts + 1] = sub(s, from, first - 1)
    from = last + 1
  end
end

local shoal_library = strict({
  api = 1,
  argmin = argmin,
  argmax = argmax,
  weighted = weighted,
  pick2 = pick2,
  builtin = builtin,
  random = function()
    return random()
  end,
  hash = function(value, seed)
    if mtype(value) == "integer" then
      value = tostring(value)
    end
    return host.hash(text(value, 1, "hash"), seed == nil and 0 or whole(seed, 2, "hash"))
  end,
  cidr = function(addr, network)
    return host.cidr(text(addr, 1, "cidr"), text(network, 2, "cidr"))
  end,
  has = function(feature)
    return host.has(text(feature, 1, "has"))
  end,
  split = split,
  starts_with = function(s, prefix)
    s, prefix = text(s, 1, "starts_with"), text(prefix, 2, "starts_with")
    return sub(s, 1, #prefix) == prefix
  end,
  glob = function(s, pattern)
    return host.glob(text(s, 1, "glob"), text(pattern, 2, "glob"))
  end,
}, "shoal has no")

local log_library, metric_library = strict({}, "log has no"), strict({}, "metric has no")
for _, level in ipairs({ "debug", "info", "warn", "error" }) do
  log_library[level] = function(fmt, ...)
    host.log(level, safe_format("log." .. level, fmt, ...))
  end
end
for _, operation in ipairs({ "inc", "set", "observe" }) do
  metric_library[operation] = function(name, value)
    if value == nil and operation == "inc" then
      value = 1
    end
    expect(value, "number", 2, operation)
    host.metric(operation, text(name, 1, operation), value)
  end
end

-- What a policy finds by name --------------------------------------------------------------------

local globals = {
  assert = function(value, message, ...)
    if value then
      return value, message, ...
    end
    fail(message == nil and "assertion failed!" or show(message))
  end,
  error = function(message)
    fail(show(message))
  end,
  ipairs = ipairs,
  pairs = sorted_pairs,
  select = select,
  tonumber = function(value, base)
    if type(value) == "string" and #value > values_max then
      return nil
    elseif base == nil then
      return tonumber(value)
    end
    return tonumber(expect(value, "string", 1, "tonumber"), whole(base, 2, "tonumber"))
  end,
  tostring = show,
  type = type,
  math = view(math_library, "math"),
  string = view(string_library, "string"),
  table = view(table_library, "table"),
  shoal = view(shoal_library, "shoal"),
  log = view(log_library, "log"),
  metric = view(metric_library, "metric"),
}
local library_names = {}
for name in next, globals do
  library_names[name] = true
end
for name, reason in next, {
  io = "no file access", os = "no operating system; the time is ctx.now_ms",
  package = "a policy is one file", debug = "nothing to debug with from inside",
  coroutine = "a policy answers at once", utf8 = "labels and ids are plain strings",
  _G = "name what you mean",
} do
  globals[name] = absent_table(name, reason)
end
for name, reason in next, {
  load = "no code from strings", loadfile = "no file access", dofile = "no file access",
  loadstring = "no code from strings", require = "a policy is one file",
  next = "its order differs from run to run; use pairs", print = "use log.info",
  pcall = "an error ends the decision and the default policy decides",
  xpcall = "an error ends the decision and the default policy decides",
  collectgarbage = "memory is the host's", setmetatable = "no metatables",
  getmetatable = "no metatables", rawget = "no metatables", rawset = "no metatables",
  rawequal = "no metatables", rawlen = "no metatables", warn = "use log.warn",
} do
  globals[name] = absent(name, reason)
end

local env = setmetatable({}, {
  __index = setmetatable(globals, {
    __index = function(_, key)
      unknown("there is no variable", key, library_names)
    end,
  }),
  __newindex = function(t, key, value)
    if rawget(globals, key) ~= nil then
      fail("'" .. key .. "' belongs to the host and is read-only")
    end
    rawset(t, key, value)
  end,
})

-- Calls of the host ------------------------------------------------------------------------------

local CHOSEN, ABSTAINED, DEFERRED, BROKEN = 1, 2, 3, 4

local function settle(choice, second, n)
  if choice == nil then
    return ABSTAINED, nil, nil
  end
  local kind = type(choice)
  if kind == "number" then
    local index = tointeger(choice)
    if index and index >= 1 and index <= n then
      local conn = known[peers[index]]
      if conn then
        return CHOSEN, conn, second
      end
      return BROKEN, "returned " .. index .. ", but peers[" .. index .. "] is no longer a peer", nil
    end
    return BROKEN, "returned " .. describe(choice) .. ", expected 1.." .. n, nil
  elseif kind == "table" then
    local conn = known[choice]
    if conn then
      return CHOSEN, conn, second
    end
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
  return function(n)
    setmetatable(peers, nil)
    for i = 1, n do
      peers[i] = shadow[i]
    end
    for i = n + 1, filled do
      peers[i] = nil
    end
    filled = n
    setmetatable(peers, sealed_peers)
    local choice, second = choose(ctx, peers)
    return settle(choice, second, n)
  end
end

local function bind_score(score)
  return function(n)
    local best, most = nil, nil
    for i = 1, n do
      local peer = shadow[i]
      local value = score(ctx, peer)
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

local function bind_init(init)
  return function()
    ctx_data.chunk = nil
    init(ctx)
  end
end

return {
  env = env, string_meta = { __index = string_library, __metatable = false }, shadow = shadow,
  params = params_data, new_peer = new_peer, set_labels = set_labels, patch_peer = patch_peer,
  drop_peer = drop_peer, set_chunk = set_chunk, set_download = set_download,
  bind_choose = bind_choose, bind_score = bind_score, bind_init = bind_init,
}
