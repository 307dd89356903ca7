-- The allow-list of Lua's own library: bounded, repeatable, without addresses.

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

local peers, filled = {}, nil    -- what the policy sees of the candidates; see below
local shadow = {}                -- the candidates of this decision, as the host wrote them

local show_host_tables           -- makes those of the host say what is so

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
  if meta then
    show_host_tables()
  end
  local data = meta and type(meta.__index) == "table" and meta.__index or t
  if t == peers and not filled then
    data = shadow
  end
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
