-- The inside of the sandbox: everything a policy can reach, and the calls the host makes into it.
-- Runs once in a fresh VM, before the policy, with the real globals; the policy never sees those.
-- What the policy gets here is written in Lua where it loops, so that the count hook sees the loop;
-- a C function is handed out only where its work is bounded by the size of its arguments.
-- Errors are raised without a position: the host takes the line from the policy's own frame.
-- One chunk in five files, in this order: base, library, views, shoal, calls.

local host = ...

local error, getmetatable, ipairs, next, rawget, rawset = error, getmetatable, ipairs, next, rawget,
  rawset
local select, setmetatable, tonumber, tostring, type = select, setmetatable, tonumber, tostring, type
local huge, mtype, random, tointeger = math.huge, math.type, math.random, math.tointeger
local byte, char, find, format, gsub, lower, sub, upper =
  string.byte, string.char, string.find, string.format, string.gsub, string.lower, string.sub,
  string.upper
local concat, move, sort, unpack = table.concat, table.move, table.sort, table.unpack

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

-- Read-only tables.

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
