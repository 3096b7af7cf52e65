-- prelude: what of the sandbox is itself Lua.
--
-- Written in Lua where the C function would escape the count of instructions
-- (table.insert moves a million slots in one), where a C frame would stop a
-- coroutine from yielding (pcall), or where LuaJIT's order is not the same in
-- each run (pairs: its string hashes are seeded, and a simulated run must replay).
--
-- SPDX-License-Identifier: Apache-2.0
local check, pcall, xpcall, resume, sort = ...
local error, next, select, type = error, next, select, type

local prelude = {}

-- A budget that is used up is not an error to recover from: check() raises it again.
local function passed(...)
  check()
  return ...
end

function prelude.pcall(...) return passed(pcall(...)) end
function prelude.resume(...) return passed(resume(...)) end

-- A handler runs inside the hook that raised, where no hook counts: none may start then.
function prelude.xpcall(f, handler, ...)
  return passed(xpcall(f, function(...)
    check()
    return handler(...)
  end, ...))
end

-- Keys that are strings come sorted, behind all others, which have an order of their own.
function prelude.pairs(t)
  if type(t) ~= "table" then
    error("bad argument #1 to 'pairs' (table expected, got " .. type(t) .. ")", 2)
  end
  local keys, n = {}, 0
  for key in next, t do
    if type(key) == "string" then
      n = n + 1
      keys[n] = key
    end
  end
  if n < 2 then
    return next, t, nil
  end
  sort(keys)
  local at, others = 0, true
  local last
  return function()
    while others do
      local value
      last, value = next(t, last)
      if last == nil then
        others = false
      elseif type(last) ~= "string" then
        return last, value
      end
    end
    while at < n do
      at = at + 1
      local value = t[keys[at]]
      if value ~= nil then
        return keys[at], value
      end
    end
  end, t, nil
end

function prelude.insert(t, ...)
  local n = select("#", ...)
  if n == 1 then
    t[#t + 1] = (...)
    return
  elseif n ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  end
  local at, value = ...
  for i = #t, at, -1 do
    t[i + 1] = t[i]
  end
  t[at] = value
end

function prelude.remove(t, at)
  local n = #t
  at = at or n
  if n == 0 or at < 1 or at > n then
    return nil
  end
  local value = t[at]
  for i = at, n - 1 do
    t[i] = t[i + 1]
  end
  t[n] = nil
  return value
end

return prelude
