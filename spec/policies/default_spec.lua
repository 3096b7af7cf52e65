-- default: a node to try out.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("the default policy", function()
  it("warms up at a provider: 50 messages in any hour", function()
    local world = sim.world { policy = "policies/default.lua", seed = 1 }
    local gmail = world:receiver "gmail.com" { latency = "80ms", starttls = true }
    world:inject { to = "user@gmail.com", count = 300 }
    world:run_for "3h"
    assert.is_true(gmail:rate_in_any "1h" <= 50)
    assert.is_true(gmail:messages() >= 140)
    assert.is_true(gmail:peak_connections() <= 2)
  end)

  it("takes two sessions from anybody else, and does not mind greylisting", function()
    local world = sim.world { policy = "policies/default.lua", seed = 1 }
    local company = world:receiver "company.example" { latency = "80ms" }
    company:greylist "5m"
    world:inject { to = "user@company.example", count = 200 }
    world:run_for "2h"
    assert.equal(200, company:messages())
    assert.is_true(company:peak_connections() <= 2)
  end)
end)
