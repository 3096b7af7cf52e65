-- inline_equals_form: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("inline_equals_form", function()
  it("has ten sessions after ten seconds", function()
    local world = sim.world { policy = "policies/examples/seeds/inline_equals_form.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "2s" }
    world:inject { to = "user@company.example", count = 2000 }
    world:run_for "5s"
    assert.is_true(receiver:peak_connections() <= 6)
    world:run_for "1m"
    assert.equal(10, receiver:peak_connections())
  end)
end)
