-- spec.spy: functions that remember how they were called (luassert's spy, stub, mock).
-- SPDX-License-Identifier: Apache-2.0
local compare = require("spec.compare")

local spies = {}

local replaced = {}             -- what spy.on and stub put elsewhere, oldest first
local methods = {}
local metatable = { __index = methods }

local function pack(...)
  return { n = select("#", ...), ... }
end

-- Deep, so that what a caller changes later does not change what was seen.
local function copy(value, seen)
  if type(value) ~= "table" or getmetatable(value) then
    return value
  elseif not seen[value] then
    local twin = {}
    seen[value] = twin
    for k, v in next, value do
      twin[copy(k, seen)] = copy(v, seen)
    end
  end
  return seen[value]
end

function metatable.__call(spy, ...)
  spy.calls[#spy.calls + 1] = { vals = copy(pack(...), {}), refs = pack(...) }
  local call = spy.calls[#spy.calls]
  local function passed(...)
    call.returnvals = pack(...)
    return ...
  end
  return passed(spy.callback(...))
end

function metatable.__tostring()
  return "a spy"
end

local function same_arguments(seen, wanted)
  if seen.n ~= wanted.n then
    return false
  end
  for i = 1, wanted.n do
    if not compare.same(wanted[i], seen[i]) then
      return false
    end
  end
  return true
end

function methods:was_called_with(...)
  for _, call in ipairs(self.calls) do
    if same_arguments(call.vals, pack(...)) or same_arguments(call.refs, pack(...)) then
      return true
    end
  end
  return false
end

function methods:has_returned_with(...)
  for _, call in ipairs(self.calls) do
    if call.returnvals and same_arguments(call.returnvals, pack(...)) then
      return true
    end
  end
  return false
end

function methods:clear()
  self.calls = {}
  return self
end

function methods:revert()
  if self.home and not self.reverted then
    self.home[self.key] = self.original
    self.reverted = true
  end
  return self.original
end

local spy, stub = {}, {}

function spy.is_spy(value)
  return type(value) == "table" and getmetatable(value) == metatable
end

function spy.new(fn)
  if fn ~= nil and type(fn) ~= "function" and not (getmetatable(fn) or {}).__call then
    error("spy.new: a function, not a " .. type(fn), 0)
  end
  return setmetatable({ calls = {}, callback = fn or function() end }, metatable)
end

local function put(home, key, fn)
  local new = spy.new(fn)
  new.home, new.key, new.original = home, key, home[key]
  home[key] = new
  replaced[#replaced + 1] = new
  return new
end

function spy.on(home, key)
  if type(home) ~= "table" or home[key] == nil then
    error("spy.on: a table and the name of a function in it", 0)
  end
  return put(home, key, home[key])
end

local function answers(new, ...)
  local values = pack(...)
  new.callback = function() return unpack(values, 1, values.n) end
  new.returns = function(...) return answers(new, ...) end
  new.invokes = function(fn) new.callback = fn return new end
  new.by_default = { returns = new.returns, invokes = new.invokes }
  return new
end

function stub.new(home, key, ...)
  if home == nil then
    return answers(spy.new())
  end
  if type(home) ~= "table" or key == nil then
    error("stub: a table and the name of a function in it", 0)
  end
  return answers(put(home, key), ...)
end

local function each_function(t, seen, fn)
  seen[t] = true
  for _, key in ipairs(require("spec.text").sorted_keys(t)) do
    local value = t[key]
    if type(value) == "function" then
      fn(t, key)
    elseif type(value) == "table" and not spy.is_spy(value) and not seen[value] then
      each_function(value, seen, fn)
    end
  end
end

-- Every function of the table becomes a spy, or a stub where stubbed is true.
local function mock(t, stubbed)
  each_function(t, {}, stubbed and stub.new or spy.on)
  return t
end

spies.spy = setmetatable(spy, { __call = function(_, ...) return spy.new(...) end })
spies.stub = setmetatable(stub, { __call = function(_, ...) return stub.new(...) end })
spies.mock = mock

function spies.mark()
  return #replaced
end

-- Puts back what was replaced since the mark.
function spies.revert(mark)
  for i = #replaced, mark + 1, -1 do
    replaced[i]:revert()
    replaced[i] = nil
  end
end

return spies
