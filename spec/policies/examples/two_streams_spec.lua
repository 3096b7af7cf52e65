-- two_streams: transactional and marketing mail, kept apart.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("two streams", function()
  it("let a password reset pass while a campaign waits", function()
    local world = sim.world { policy = "policies/examples/two_streams.lua", seed = 1 }
    local gmail = world:receiver "gmail.com" { latency = "80ms", starttls = true }
    world:inject { to = "reader@gmail.com", count = 20000 }
    world:run_for "1m"
    world:inject { to = "customer@gmail.com", headers = { ["X-Stream"] = "transactional" } }
    world:run_for "10s"
    assert.equal(1, #world:records { type = "d", vmta = "tx-1" })
    assert.is_true(gmail:messages() < 20000)
  end)

  it("refuse a stream that nobody knows", function()
    local world = sim.world { policy = "policies/examples/two_streams.lua", seed = 1 }
    local taken, reply = world:inject { to = "user@gmail.com", headers = { ["X-Stream"] = "fast" } }
    assert.equal(0, taken)
    assert.matches("^550 5%.6%.0 ", reply)
  end)
end)
