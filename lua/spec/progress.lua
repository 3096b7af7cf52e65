-- spec.progress: on a long run, a line at the foot of a terminal that says what runs.
-- SPDX-License-Identifier: Apache-2.0
local text = require("spec.text")

local LONG_S = 1
local EVERY_S = 0.1

return function(host, totals)
  local began, last, shown = host.now(), 0, false
  local able = host.isatty(2) and os.getenv("TERM") ~= "dumb"
  local progress = {}

  function progress.show(title)
    local now = host.now()
    if not able or now - began < LONG_S or now - last < EVERY_S then
      return
    end
    last, shown = now, true
    io.stdout:flush()
    local line = ("%d passed, %d failed: %s"):format(totals.passed, totals.failed, text.utf8(title):gsub("%c", " "))
    io.stderr:write("\r\27[K", text.cut(line, host.columns() - 2))
    io.stderr:flush()
  end

  function progress.clear()
    if shown then
      io.stderr:write("\r\27[K")
      io.stderr:flush()
      shown = false
    end
  end

  return progress
end
