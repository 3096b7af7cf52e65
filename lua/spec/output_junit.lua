-- spec.output_junit: JUnit's XML, for build servers; a suite is a file.
-- SPDX-License-Identifier: Apache-2.0
local report = require("spec.report")
local text = require("spec.text")

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\n"] = "&#10;", ["\t"] = "&#9;" }

-- XML 1.0 has no other control characters, not even escaped, nor U+FFFE and U+FFFF.
local function escape(s)
  s = text.utf8(s):gsub("\239\191[\190\191]", "\239\191\189")
  return (s:gsub('[&<>"%c]', function(c) return entities[c] or (c == "\127" and c or "\239\191\189") end))
end

local function sums_of(suite)
  local failures, skipped, seconds = 0, 0, 0
  for _, result in ipairs(suite.results) do
    failures = failures + (result.status == "failed" and 1 or 0)
    skipped = skipped + (result.status == "pending" and 1 or 0)
    seconds = seconds + (result.seconds or 0)
  end
  return failures, skipped, seconds
end

local function write_case(write, result)
  write('    <testcase classname="%s" name="%s" time="%.3f"', escape(result.file), escape(result.name), result.seconds or 0)
  if result.status == "passed" then
    write("/>\n")
  elseif result.status == "pending" then
    write('><skipped message="%s"/></testcase>\n', escape(result.reason or ""))
  else
    local failure = result.failure
    write('><failure message="%s">%s</failure></testcase>\n', escape(failure.text),
      escape(table.concat(report.failure(failure), "\n")))
  end
end

return function()
  local out, suites = {}, {}

  local function write(format, ...)
    io.stdout:write(format:format(...))
  end

  function out.file(path)
    suites[#suites + 1] = { path = path, results = {} }
  end

  function out.block() end

  function out.result(result)
    local results = suites[#suites].results
    results[#results + 1] = result
  end

  function out.finish(sums)
    write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites tests="%d" failures="%d" skipped="%d" time="%.3f">\n',
      sums.passed + sums.failed + sums.pending, sums.failed, sums.pending, sums.seconds)
    for _, suite in ipairs(suites) do
      write('  <testsuite name="%s" tests="%d" failures="%d" skipped="%d" time="%.3f">\n', escape(suite.path), #suite.results,
        sums_of(suite))
      for _, result in ipairs(suite.results) do
        write_case(write, result)
      end
      write("  </testsuite>\n")
    end
    write("</testsuites>\n")
    io.stdout:flush()
  end

  return out
end
