-- spec.output_tap: the Test Anything Protocol; the plan comes last.
-- SPDX-License-Identifier: Apache-2.0
local report = require("spec.report")

-- A "#" in a name would begin a directive.
local function named(result)
  return (report.line(result.name):gsub("#", "\\#"))
end

return function()
  local out, n = {}, 0

  local function write(...)
    io.stdout:write(...)
    io.stdout:write("\n")
  end

  function out.file(path)
    write("# ", report.line(path))
  end

  function out.block() end

  function out.result(result)
    n = n + 1
    if result.status == "failed" then
      write(("not ok %d - %s"):format(n, named(result)))
      for _, line in ipairs(report.failure(result.failure)) do
        write("# ", line)
      end
    elseif result.status == "pending" then
      write(("ok %d - %s # SKIP %s"):format(n, named(result), report.line(result.reason or "pending")))
    else
      write(("ok %d - %s"):format(n, named(result)))
    end
    io.stdout:flush()
  end

  function out.finish(sums)
    for _, row in ipairs(sums.coverage or {}) do
      write("# ", report.coverage(row))
    end
    write("1..", n)
    io.stdout:flush()
  end

  return out
end
