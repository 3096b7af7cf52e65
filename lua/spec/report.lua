-- spec.report: what all outputs say the same way.
-- SPDX-License-Identifier: Apache-2.0
local text = require("spec.text")

local report = {}

local states = { exercised = "exercised", never = "never exercised", cannot = "cannot match" }

-- One line, whatever is in it.
function report.line(s)
  return (text.utf8(s):gsub("%c", " "))
end

function report.place(failure)
  return failure.line and ("%s:%d"):format(failure.file, failure.line) or failure.file
end

-- FILE:LINE: what is wrong, the command that runs it again, and beneath them what
-- differs and what the world was doing.
function report.failure(failure)
  local first, more = text.utf8(failure.text):match("^([^\n]*)\n?(.*)$")
  local lines = { report.line(report.place(failure) .. ": " .. first), "again: " .. failure.again }
  for line in more:gmatch("[^\n]+") do
    lines[#lines + 1] = "  " .. report.line(line)
  end
  for _, list in ipairs { failure.details or {}, failure.world or {} } do
    for _, line in ipairs(list) do
      lines[#lines + 1] = "  " .. report.line(tostring(line))
    end
  end
  return lines
end

function report.coverage(row)
  local state = states[row.state] or tostring(row.state)
  return report.line(("%s:%d: %s %s: %s%s"):format(row.file, row.line or 0, row.kind, row.name, state,
    row.state == "cannot" and row.why and ": " .. row.why or ""))
end

return report
