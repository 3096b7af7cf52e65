-- sluice.sim_check: the arguments of sluice.sim, checked: each kind takes a name and a
-- value, and gives what C wants (seconds, bytes, counts).
--
-- SPDX-License-Identifier: Apache-2.0
local native = require("sluice.world")

local Mistake = {}

-- What the caller of a method did wrong.
local function wrong(format, ...)
  error(setmetatable({ text = format:format(...) }, Mistake), 0)
end

local function finished(fine, ...)
  if fine then
    return ...
  end
  local caught = ...
  if getmetatable(caught) == Mistake then
    error(caught.text, 2)               -- placed() called this in its place
  end
  error(caught, 0)
end

-- Every method runs under this: a mistake is told at the caller's line, and what has a
-- place of its own (in a policy, in a function of the spec) at that one.
local function placed(fn)
  return function(...)
    return finished(pcall(fn, ...))
  end
end

local function must(value, text, has_place)
  if value ~= nil then
    return value
  elseif has_place then
    error(text, 0)
  end
  wrong("%s", text)
end

local function list(names)
  local sorted = {}
  for name in pairs(names) do
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  return sorted
end

local function unknown(what, name, names)
  local near = native.nearest(tostring(name), list(names))
  wrong("%s: no such %s%s", tostring(name), what, near and (" (" .. near .. "?)") or
    " (" .. table.concat(list(names), ", ") .. ")")
end

local function article(kind)
  return kind == "nil" and "nothing" or kind:find("^[aeiou]") and "an " .. kind or "a " .. kind
end

-- ---- kinds of values: each takes a name and a value, and gives what C wants ----

local function expect(kind)
  return function(name, value)
    if type(value) ~= kind then
      wrong("%s: %s is wanted, not %s", name, article(kind), article(type(value)))
    end
    return value
  end
end

local text, flag, func = expect("string"), expect("boolean"), expect("function")

local function plain(name, value)
  if text(name, value):find("[%c]") then
    wrong("%s: no control characters", name)
  end
  return value
end

local function duration(name, value)
  if type(value) ~= "number" and type(value) ~= "string" then
    wrong('%s: a duration is wanted ("30m", "80ms", 90), not %s', name, article(type(value)))
  end
  local seconds, problem = native.duration(value)
  return seconds or wrong("%s: %s", name, problem)
end

local function positive(name, value)
  local seconds = duration(name, value)
  return seconds > 0 and seconds or wrong("%s: longer than nothing", name)
end

local function whole(low, high)
  return function(name, value)
    if type(value) ~= "number" or value ~= math.floor(value) or value < low or value > high then
      wrong("%s: a whole number from %d%s is wanted, not %s", name, low, high < 2 ^ 32 and " to " .. high or "",
        type(value) == "number" and tostring(value) or article(type(value)))
    end
    return value
  end
end

local count = whole(1, 2 ^ 40)

local function rate(name, value)
  if type(value) ~= "string" then
    wrong('%s: a rate is wanted ("400/h"), not %s', name, article(type(value)))
  end
  local n, seconds = native.rate(value)
  if not n then
    wrong("%s: %s", name, seconds)
  end
  return { n, seconds }
end

local function size(name, value)
  if type(value) ~= "number" and type(value) ~= "string" then
    wrong('%s: a size is wanted ("20K", 1000), not %s', name, article(type(value)))
  end
  local bytes, problem = native.size(value)
  return bytes or wrong("%s: %s", name, problem)
end

local function address(name, value)
  if text(name, value):find("[%c%s<>]") then
    wrong("%s: no address: %s", name, value)
  end
  return value
end

-- A table of options, each of its kind; what is not known is an error.
local function options(what, given, kinds)
  if type(given) ~= "table" then
    wrong("%s: a table is wanted, not %s", what, article(type(given)))
  end
  local result = {}
  for name, value in pairs(given) do
    if not kinds[name] then
      unknown("option of " .. what, name, kinds)
    end
    result[name] = kinds[name](name, value)
  end
  return result
end

local function methods(what, class)
  local missing = placed(function(name) unknown("method of " .. what, name, class) end)
  return function(_, name)
    local method = class[name]
    if method then
      return method
    end
    return missing(name)
  end
end

return {
  wrong = wrong,
  placed = placed,
  must = must,
  list = list,
  unknown = unknown,
  article = article,
  text = text,
  flag = flag,
  func = func,
  plain = plain,
  duration = duration,
  positive = positive,
  whole = whole,
  count = count,
  rate = rate,
  size = size,
  address = address,
  options = options,
  methods = methods,
}
