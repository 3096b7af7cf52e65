-- spec.failure: from what was thrown to FILE:LINE and a text.
-- SPDX-License-Identifier: Apache-2.0
local assertions = require("spec.assert")
local text = require("spec.text")

local failures = { PENDING = {} }        -- the metatable of what pending() throws

local LEVELS_MAX = 200

-- The line of the spec file that is being run; nil: it is not on the stack.
function failures.line_in(file)
  for level = 2, LEVELS_MAX do
    local frame = debug.getinfo(level, "Sl")
    if not frame then
      return nil
    elseif frame.source == file.source and frame.currentline > 0 then
      return frame.currentline
    end
  end
end

-- "FILE:LINE: text" of the file itself, whose name Lua may have cut: the line and the text.
local function cut_place(file, said)
  for _, name in ipairs { file.path, file.short or file.path } do
    if said:sub(1, #name + 1) == name .. ":" then
      local line, rest = said:match("^(%d+): (.*)$", #name + 2)
      if line then
        return tonumber(line), rest
      end
    end
  end
end

-- LuaJIT cuts long names of files in what its parser says: "...end/of/name_spec.lua:3: text".
function failures.of_text(file, said)
  local tail, line, rest = said:match("^%.%.%.([^\n]-):(%d+): (.*)$")
  if tail and file.path:sub(-#tail) == tail then
    return { line = tonumber(line), text = rest }
  end
  line, rest = cut_place(file, said)
  return { line = line, text = rest or said }
end

function failures.of(file, value, line)
  local mt = getmetatable(value)
  if mt == assertions.failure then
    -- In a function that a world called: it was noted there, since the stack is gone.
    line = value.source == file.source and value.line or line
    return { line = line, text = value.text, expected = value.expected, actual = value.actual, details = value.details }
  elseif type(value) == "string" then
    local caught = failures.of_text(file, value)
    caught.line = caught.line or line
    return caught
  elseif type(mt) == "table" and mt.__tostring then
    return { line = line, text = tostring(value) }
  end
  return { line = line, text = "error: " .. text.show(value) }
end

-- For xpcall. What is no error passes as it is.
function failures.handler(file)
  return function(value)
    if getmetatable(value) == failures.PENDING then
      return value
    end
    return failures.of(file, value, failures.line_in(file))
  end
end

return failures
