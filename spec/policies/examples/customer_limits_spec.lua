-- customer_limits: each customer's own limits, told by the job that a message belongs to.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("limits of customers", function()
  local world, company
  before_each(function()
    world = sim.world { policy = "policies/examples/customer_limits.lua", seed = 1 }
    company = world:receiver "company.example" { latency = "20ms" }
  end)

  it("hold for all jobs of one together", function()
    world:inject { to = "user@company.example", count = 3000, headers = { ["X-Job"] = "acme-1" } }
    world:inject { to = "user@company.example", count = 3000, headers = { ["X-Job"] = "acme-2" } }
    world:run_for "2h"
    assert.is_true(company:rate_in_any "1h" <= 2000)
    assert.is_true(company:messages() >= 3900)
  end)

  it("leave the other customer alone", function()
    world:inject { to = "user@company.example", count = 3000, headers = { ["X-Job"] = "acme-1" } }
    world:inject { to = "user@company.example", count = 500, headers = { ["X-Job"] = "globex-1" } }
    world:run_for "30m"
    assert.equal(0, world:queue("company.example/globex").queued)
  end)

  it("let what is urgent overtake", function()
    world:inject { to = "user@company.example", count = 3000, headers = { ["X-Job"] = "acme-1" } }
    world:inject { to = "urgent@company.example", headers = { ["X-Job"] = "acme-2", ["X-Urgent"] = "yes" } }
    world:run_for "2m"
    assert.equal(1, #world:records { type = "d", rcpt = "urgent@company.example" })
  end)

  it("refuse a job of nobody's", function()
    local taken, reply = world:inject { to = "user@company.example", headers = { ["X-Job"] = "initech-1" } }
    assert.equal(0, taken)
    assert.matches("^550 5%.7%.1 ", reply)
  end)
end)
