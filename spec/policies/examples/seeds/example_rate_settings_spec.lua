-- example_rate_settings: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("example_rate_settings", function()
  it("sends 500 messages an hour, for connections bind", function()
    local world = sim.world { policy = "policies/examples/seeds/example_rate_settings.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "80ms" }
    world:inject { to = "user@company.example", count = 2500 }
    world:run_for "4h"
    assert.is_true(receiver:rate_in_any "1h" <= 500)
    assert.is_true(receiver:messages() >= 1900)
    assert.is_true(receiver:peak_connections() <= 10)
  end)
end)
