-- spec.json: values as JSON, keys sorted, text always valid UTF-8.
-- SPDX-License-Identifier: Apache-2.0
local text = require("spec.text")

local json = { null = {} }

local array = {}
local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- A table that is a list also where it is empty.
function json.array(t)
  return setmetatable(t, array)
end

local function quoted(s)
  return '"' .. text.utf8(s):gsub('[%c"\\]', function(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function number(n)
  if n ~= n or n == math.huge or n == -math.huge then
    return "null"
  end
  return text.number(n)
end

function json.encode(value)
  if value == json.null or value == nil then
    return "null"
  elseif type(value) == "string" then
    return quoted(value)
  elseif type(value) == "number" then
    return number(value)
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local parts = {}
  if getmetatable(value) == array then
    for i, item in ipairs(value) do
      parts[i] = json.encode(item)
    end
    return "[" .. table.concat(parts, ", ") .. "]"
  end
  for i, key in ipairs(text.sorted_keys(value)) do
    parts[i] = quoted(tostring(key)) .. ": " .. json.encode(value[key])
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

return json
