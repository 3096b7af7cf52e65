-- spec.output_json: one value, at the end.
-- SPDX-License-Identifier: Apache-2.0
local json = require("spec.json")

local null = json.null

return function()
  local out, failed = {}, {}

  function out.file() end
  function out.block() end

  function out.result(result)
    local failure = result.failure
    if not failure then
      return
    end
    failed[#failed + 1] = {
      name = failure.name, file = failure.file, line = failure.line or null, text = failure.text,
      expected = failure.expected or null, actual = failure.actual or null, seed = failure.seed, again = failure.again,
      details = json.array(failure.details or {}), world = json.array(failure.world or {}),
    }
  end

  function out.finish(sums)
    local value = {
      passed = sums.passed, failed = sums.failed, pending = sums.pending, seed = sums.seed, failures = json.array(failed),
    }
    if sums.coverage then
      local rows = json.array {}
      for i, row in ipairs(sums.coverage) do
        rows[i] = {
          kind = row.kind, name = row.name, file = row.file, line = row.line or null, state = row.state, why = row.why or null,
        }
      end
      value.coverage = rows
    end
    io.stdout:write(json.encode(value), "\n")
    io.stdout:flush()
  end

  return out
end
