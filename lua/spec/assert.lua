-- spec.assert: luassert's assertions, and Lua's own assert.
--
-- assert.are_not.equal, assert.are_not_equal and assert.not_equal are one: names
-- are cut at dots and underscores, words that only sound well are dropped, "not"
-- and "no" negate, what is left names a row of `checks`.
--
-- SPDX-License-Identifier: Apache-2.0
local compare = require("spec.compare")
local spies = require("spec.spy")
local text = require("spec.text")

local show = text.show
local fillers = { a = 1, an = 1, are = 1, be = 1, been = 1, does = 1, has = 1, have = 1, is = 1, was = 1, were = 1 }
local negations = { ["not"] = 1, no = 1 }

-- What a failed assertion throws.
local failure = {}

function failure.__tostring(self)
  return self.text
end

-- Of an assertion that is used wrongly.
local function misuse(line)
  error(setmetatable({ text = line }, failure), 0)
end

local checks, arity = {}, {}

-- A check gives: whether it holds, what was expected, what was there, lines of detail.
local function add(names, least, check)
  for name in names:gmatch("%S+") do
    checks[name], arity[name] = check, least
  end
end

add("equal equals", 2, function(expected, actual)
  return expected == actual, show(expected), show(actual)
end)

add("same", 2, function(expected, actual)
  local holds = compare.same(expected, actual)
  return holds, show(expected), show(actual), not holds and compare.differences(expected, actual) or nil
end)

add("near", 3, function(expected, actual, tolerance)
  if type(expected) ~= "number" or type(tolerance) ~= "number" then
    misuse("assert.near: a number, the value, the tolerance")
  end
  local holds = type(actual) == "number" and math.abs(expected - actual) <= tolerance
  return holds, ("%s within %s"):format(show(expected), show(tolerance)), show(actual)
end)

add("true", 0, function(value) return value == true, "true", show(value) end)
add("false", 0, function(value) return value == false, "false", show(value) end)
add("nil", 0, function(value) return value == nil, "nil", show(value) end)
add("truthy", 0, function(value) return value and true or false, "a true value", show(value) end)
add("falsy", 0, function(value) return not value, "nil or false", show(value) end)

for _, kind in ipairs { "boolean", "number", "string", "table", "function", "userdata", "thread", "cdata" } do
  add(kind, 1, function(value)
    return type(value) == kind, "a " .. kind, show(value)
  end)
end

add("callable", 1, function(value)
  return type(value) == "function" or ((getmetatable(value) or {}).__call and true or false), "something callable", show(value)
end)

add("unique", 1, function(list, deep)
  if type(list) ~= "table" then
    misuse("assert.unique: a list, not " .. show(list))
  end
  local seen = {}
  for _, value in ipairs(list) do
    for _, other in ipairs(deep and seen or {}) do
      if compare.same(value, other) then
        return false, "unique values", show(value) .. " twice"
      end
    end
    if not deep and seen[value] then
      return false, "unique values", show(value) .. " twice"
    end
    seen[deep and #seen + 1 or value] = deep and value or true
  end
  return true, "unique values", show(list)
end)

add("matches match", 2, function(pattern, value, init, plain)
  if type(pattern) ~= "string" then
    misuse("assert.matches: a pattern, then the text")
  end
  local fits = type(value) == "string" or type(value) == "number"
  return fits and tostring(value):find(pattern, init, plain) ~= nil, "a match of " .. show(pattern), show(value)
end)

-- The error's text without the place that error() put before it.
local function bare(value)
  return type(value) == "string" and value:gsub("^[^\n]-:%d+: ", "", 1) or value
end

local function raised(name, fn, ...)
  if type(fn) ~= "function" and not (getmetatable(fn) or {}).__call then
    misuse(("assert.%s: a function to call, not %s"):format(name, show(fn)))
  end
  local fine, value = pcall(fn, ...)
  return not fine, value
end

add("error errors", 1, function(fn, expected)
  local erred, value = raised("has_error", fn)
  local got = erred and "the error " .. show(value) or "none"
  if expected == nil then
    return erred, "an error", got
  end
  return erred and (compare.same(expected, value) or compare.same(expected, bare(value))), "the error " .. show(expected), got
end)

add("error_matches errors_match error_match matches_error", 2, function(fn, pattern, init, plain)
  local erred, value = raised("error_matches", fn)
  local said = erred and (getmetatable(value) or {}).__tostring and tostring(value) or value
  local fits = erred and type(said) == "string" and said:find(pattern, init, plain) ~= nil
  return fits, "an error that matches " .. show(pattern), erred and "the error " .. show(value) or "none"
end)

-- Those on a spy take it from assert.spy(s).
local spy_checks = {}

local function times(n)
  return ("%d call%s"):format(n, n == 1 and "" or "s")
end

local function add_count(names, word, fits)
  for name in names:gmatch("%S+") do
    spy_checks[name] = function(spy, n)
      local made = #spy.calls
      if n == nil then
        return made > 0, "a call", times(made)
      end
      return fits(made, n), word .. times(n), times(made)
    end
  end
end

add_count("called", "", function(made, n) return made == n end)
add_count("called_at_least", "at least ", function(made, n) return made >= n end)
add_count("called_at_most", "at most ", function(made, n) return made <= n end)
add_count("called_more_than", "more than ", function(made, n) return made > n end)
add_count("called_less_than", "less than ", function(made, n) return made < n end)

function spy_checks.called_with(spy, ...)
  local seen = {}
  for i, call in ipairs(spy.calls) do
    seen[i] = { unpack(call.vals, 1, call.vals.n) }
  end
  return spy:was_called_with(...), "a call with " .. show { ... }, #seen == 0 and "no call" or "calls with " .. show(seen)
end

function spy_checks.returned_with(spy, ...)
  local seen = {}
  for _, call in ipairs(spy.calls) do
    if call.returnvals then
      seen[#seen + 1] = { unpack(call.returnvals, 1, call.returnvals.n) }
    end
  end
  return spy:has_returned_with(...), "a return of " .. show { ... }, "returns of " .. show(seen)
end

-- How many arguments are the check's own, where one more is the message.
local own = { equal = 2, equals = 2, same = 2, near = 3, ["true"] = 1, ["false"] = 1, ["nil"] = 1, truthy = 1, falsy = 1 }

local function parse(words)
  local negated, rest = false, {}
  for word in words:gmatch("[^_%.]+") do
    local lower = word:lower()
    if #rest == 0 and negations[lower] then
      negated = not negated
    elseif #rest > 0 or not fillers[lower] then
      rest[#rest + 1] = lower
    end
  end
  return table.concat(rest, "_"), negated
end

local function fail(negated, message, expected, actual, details)
  if negated then
    expected, details = "not " .. expected, nil
  end
  local line = ("expected %s, got %s"):format(expected, actual)
  if message ~= nil then
    line = line .. " (" .. (type(message) == "string" and message or show(message)) .. ")"
  end
  error(setmetatable({ text = line, expected = expected, actual = actual, details = details }, failure), 0)
end

local STATE = {}                -- a key that no word can be
local chains = {}

local function chain(words, spy, message)
  return setmetatable({ [STATE] = { words = words, spy = spy, message = message } }, chains)
end

function chains.__index(self, word)
  local state = rawget(self, STATE)
  local words = state.words == "" and tostring(word) or state.words .. "." .. tostring(word)
  return chain(words, state.spy, state.message)
end

local function unknown(state, name)
  local rows, names = state.spy and spy_checks or checks, {}
  for known in next, rows do
    names[#names + 1] = known
  end
  table.sort(names)
  if not state.spy and spy_checks[name] then
    misuse(("assert.%s: of a spy: assert.spy(s).%s"):format(state.words, state.words))
  end
  local near = text.nearest(name, names)
  misuse(("assert.%s: no such assertion%s"):format(state.words, near and " (" .. near .. "?)" or ""))
end

function chains.__call(self, ...)
  local state, n = rawget(self, STATE), select("#", ...)
  local name, negated = parse(state.words)
  if name == "message" then
    return chain("", state.spy, (...))
  elseif name == "spy" or name == "stub" then
    if not spies.spy.is_spy((...)) then
      misuse("assert.spy: a spy, not " .. show((...)))
    end
    return chain("", (...), state.message)
  end
  local check = (state.spy and spy_checks or checks)[name] or unknown(state, name)
  local holds, expected, actual, details
  if state.spy then
    holds, expected, actual, details = check(state.spy, ...)
  elseif n < arity[name] then
    misuse(("assert.%s: %d argument%s needed, %d given"):format(state.words, arity[name], arity[name] == 1 and "" or "s", n))
  else
    holds, expected, actual, details = check(...)
  end
  if holds == negated then
    fail(negated, state.message or own[name] and (select(own[name] + 1, ...)), expected, actual, details)
  end
  return ...
end

-- Lua's own, but that it says what it got where it is given no message.
local function plain(_, value, message, ...)
  if value then
    return value, message, ...
  elseif message ~= nil then
    error(message, 0)
  end
  fail(false, nil, "a true value", show(value))
end

local assertions = setmetatable({}, {
  __call = plain,
  __index = function(_, word) return chain(tostring(word)) end,
})

return { assert = assertions, failure = failure }
