-- outage: a provider that can't be reached from here is reached by another way.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("an outage", function()
  it("is gone around, and the direct way is taken again when it is over", function()
    local world = sim.world { policy = "policies/examples/outage.lua", seed = 1 }
    local gmail = world:receiver "gmail.com" { latency = "80ms" }
    local relay = world:receiver "relay.example.net" { latency = "80ms" }
    gmail:down()
    world:inject { to = "user@gmail.com", count = 200, rate = "100/h" }
    world:run_for "2h"
    assert.equal(0, gmail:messages())
    assert.is_true(relay:messages() > 100)
    gmail:up()
    world:run_for "2h"
    local before = relay:messages()
    world:inject { to = "user@gmail.com", count = 50 }
    world:run_for "10m"
    assert.equal(before, relay:messages())
    assert.is_true(gmail:messages() >= 50)
  end)
end)
