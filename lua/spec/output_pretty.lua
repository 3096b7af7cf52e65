-- spec.output_pretty: for people.
-- SPDX-License-Identifier: Apache-2.0
local report = require("spec.report")

local marks = { passed = "ok     ", failed = "FAIL   ", pending = "pending" }
local colours = { passed = "32", failed = "31", pending = "33", title = "1" }

return function(host, options)
  local failed = {}
  local coloured = host.isatty(1) and not options.no_color and (os.getenv("NO_COLOR") or "") == ""
    and os.getenv("TERM") ~= "dumb"

  local function write(...)
    io.stdout:write(...)
    io.stdout:write("\n")
  end

  local function paint(kind, s)
    return coloured and ("\27[%sm%s\27[0m"):format(colours[kind], s) or s
  end

  local out = {}

  function out.file(path)
    write(paint("title", report.line(path)))
  end

  function out.block(block)
    write(("  "):rep(block.depth), report.line(block.name))
  end

  function out.result(result)
    local reason = result.reason and ": " .. report.line(result.reason) or ""
    write(("  "):rep(result.depth), paint(result.status, marks[result.status]), " ", report.line(result.title), reason)
    failed[#failed + 1] = result.failure
  end

  function out.finish(sums)
    for _, failure in ipairs(failed) do
      write("\n", paint("failed", "FAIL "), report.line(failure.name))
      write(table.concat(report.failure(failure), "\n"))
    end
    if sums.coverage then
      write("\ncoverage")
    end
    for _, row in ipairs(sums.coverage or {}) do
      write(report.coverage(row))
    end
    write(("\n%d passed, %d failed, %d pending (%.2f s)"):format(sums.passed, sums.failed, sums.pending, sums.seconds))
    io.stdout:flush()
  end

  return out
end
