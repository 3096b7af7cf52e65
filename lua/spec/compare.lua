-- spec.compare: whether two values are the same all the way down, and where they differ.
-- SPDX-License-Identifier: Apache-2.0
local text = require("spec.text")

local compare = {}

local DIFFERENCES_MAX = 20

local function equal_by_metatable(a, b)
  local mt = getmetatable(a)
  return type(mt) == "table" and mt == getmetatable(b) and mt.__eq and a == b
end

-- Pairs that are being compared count as the same: so cycles end.
local function same(a, b, under)
  if rawequal(a, b) then
    return true
  elseif type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  elseif equal_by_metatable(a, b) then
    return true
  end
  under[a] = under[a] or {}
  if under[a][b] then
    return true
  end
  under[a][b] = true
  for key, value in next, a do
    if not same(value, b[key], under) then
      return false
    end
  end
  for key in next, b do
    if a[key] == nil then
      return false
    end
  end
  return true
end

function compare.same(a, b)
  return same(a, b, {})
end

local function walk(a, b, path, lines, under)
  if #lines > DIFFERENCES_MAX or compare.same(a, b) then
    return
  end
  if type(a) ~= "table" or type(b) ~= "table" or (under[a] and under[a][b]) then
    lines[#lines + 1] = ("%s: expected %s, got %s"):format(path, text.show(a), text.show(b))
    return
  end
  under[a] = under[a] or {}
  under[a][b] = true
  local keys = {}
  for key in next, a do keys[key] = true end
  for key in next, b do keys[key] = true end
  for _, key in ipairs(text.sorted_keys(keys)) do
    walk(a[key], b[key], path .. text.show_key(key), lines, under)
  end
end

-- One line a place that differs, by its path.
function compare.differences(a, b)
  local lines = {}
  if type(a) == "table" and type(b) == "table" then
    walk(a, b, "", lines, {})
  end
  if #lines > DIFFERENCES_MAX then
    lines[#lines] = "…"
  end
  return lines
end

return compare
