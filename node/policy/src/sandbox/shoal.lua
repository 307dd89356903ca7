-- The host library, and what a policy finds by name.

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

-- The index of the least, and of the most where `most`. The loop over a field of the candidates
-- runs in Rust; over another list it costs the same here, for there it would read the list anyway.
local function extreme(name, most, list, key)
  expect(list, "table", 1, name)
  local field = type(key) == "string" or not expect(key, "function", 2, name)
  if field and list == peers and not filled then
    return host.extreme(most, key)
  end
  local best, so_far = nil, nil
  for i = 1, #list do
    local value
    if field then
      value = list[i][key]
    else
      value = key(list[i])
    end
    if value ~= nil then
      if type(value) ~= "number" or value ~= value then
        measure(name, value)
      end
      if best == nil or (most and value > so_far) or (not most and value < so_far)
        or (value == so_far and tie_before(list[i], list[best])) then
        best, so_far = i, value
      end
    end
  end
  return best
end

local function argmin(list, key)
  return (extreme("argmin", false, list, key))
end

local function argmax(list, key)
  return (extreme("argmax", true, list, key))
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


-- What a policy finds by name.

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
