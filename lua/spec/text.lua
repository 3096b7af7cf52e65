-- spec.text: values and bytes as people read them.
-- SPDX-License-Identifier: Apache-2.0
local text = {}

local SHOWN_MAX = 300           -- bytes of a value in a line
local DEPTH_MAX = 8

-- The length of the UTF-8 character at `at`, nil where there is none (RFC 3629).
local function character(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  local function follows(byte) return byte and byte >= 0x80 and byte < 0xC0 end
  if a < 0x80 then return 1 end
  if a >= 0xC2 and a < 0xE0 and follows(b) then return 2 end
  if a >= 0xE0 and a < 0xF0 and follows(b) and follows(c) then
    local surrogate, long = a == 0xED and b >= 0xA0, a == 0xE0 and b < 0xA0
    return not surrogate and not long and 3 or nil
  end
  if a >= 0xF0 and a < 0xF5 and follows(b) and follows(c) and follows(d) then
    local beyond, long = a == 0xF4 and b >= 0x90, a == 0xF0 and b < 0x90
    return not beyond and not long and 4 or nil
  end
end

-- Valid UTF-8; each byte that is none becomes what `bad` makes of it (U+FFFD).
function text.utf8(s, bad)
  if not s:find("[\128-\255]") then
    return s
  end
  local parts, at, from = {}, 1, 1
  while at <= #s do
    local n = character(s, at)
    if not n then
      parts[#parts + 1] = s:sub(from, at - 1)
      parts[#parts + 1] = bad and bad(s:byte(at)) or "\239\191\189"
      from = at + 1
    end
    at = at + (n or 1)
  end
  parts[#parts + 1] = s:sub(from)
  return table.concat(parts)
end

-- At most n bytes, no character cut in two.
function text.cut(s, n)
  if #s <= n then
    return s
  end
  while n > 0 and (s:byte(n + 1) or 0) >= 0x80 and s:byte(n + 1) < 0xC0 do
    n = n - 1
  end
  return s:sub(1, n) .. "…"
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function hex(byte)
  return ("\\x%02X"):format(type(byte) == "string" and byte:byte() or byte)
end

local function quoted(s)
  return '"' .. text.utf8(s:gsub('[%c"\\]', function(c) return escapes[c] or hex(c) end), hex) .. '"'
end

function text.number(n)
  local short = ("%.14g"):format(n)
  return tonumber(short) == n and short or n ~= n and "nan" or ("%.17g"):format(n)
end

-- Numbers first, then the rest by their text.
function text.sorted_keys(t)
  local keys = {}
  for key in next, t do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    local ta, tb = type(a), type(b)
    if ta == "number" and tb == "number" then
      return a < b
    elseif ta ~= tb then
      return ta == "number" or (tb ~= "number" and ta < tb)
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local show

local function show_table(t, depth, seen)
  if seen[t] then
    return "<itself>"
  elseif depth == DEPTH_MAX then
    return "{…}"
  elseif not next(t) then
    return "{}"
  end
  seen[t] = true
  local parts, n, length = {}, #t, 0
  for _, key in ipairs(text.sorted_keys(t)) do
    local value = show(t[key], depth + 1, seen)
    if type(key) == "number" and key >= 1 and key <= n and key % 1 == 0 then
      parts[#parts + 1] = value
    elseif type(key) == "string" and key:find("^[%a_][%w_]*$") then
      parts[#parts + 1] = key .. " = " .. value
    else
      parts[#parts + 1] = "[" .. show(key, depth + 1, seen) .. "] = " .. value
    end
    length = length + #parts[#parts]
    if length > SHOWN_MAX then
      break
    end
  end
  seen[t] = nil
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function show(value, depth, seen)
  local kind = type(value)
  if kind == "string" then
    return quoted(value)
  elseif kind == "number" then
    return text.number(value)
  elseif kind == "table" and not (getmetatable(value) or {}).__tostring then
    return show_table(value, depth, seen)
  elseif kind == "table" then
    return text.utf8(tostring(value), hex)
  elseif kind == "nil" or kind == "boolean" or kind == "cdata" then
    return tostring(value)
  end
  return "a " .. kind         -- an address would differ from run to run
end

function text.show(value)
  return text.cut(show(value, 0, {}), SHOWN_MAX)
end

function text.show_key(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return "." .. key
  end
  return "[" .. text.show(key) .. "]"
end

-- Levenshtein; the nearest of the words, nil where none is near.
function text.nearest(word, words)
  local best, least = nil, 4
  for _, other in ipairs(words) do
    local row = {}
    for j = 0, #other do row[j] = j end
    for i = 1, #word do
      local diagonal
      diagonal, row[0] = row[0], i
      for j = 1, #other do
        local cost = word:byte(i) == other:byte(j) and 0 or 1
        diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      end
    end
    if row[#other] < least and row[#other] < #other then
      best, least = other, row[#other]
    end
  end
  return best
end

return text
