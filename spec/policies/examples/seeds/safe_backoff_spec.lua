-- safe_backoff: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("safe_backoff", function()
  it("gives up after five retries, half an hour apart in backoff", function()
    local world = sim.world { policy = "policies/examples/seeds/safe_backoff.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "80ms" }
    receiver:answer { to = "RCPT", with = "421 4.7.0 not now" }
    world:inject { to = "user@company.example" }
    world:run_for "20m"
    assert.equal(1, receiver:connections())
    world:run_for "4h"
    assert.equal(6, receiver:connections())
    assert.equal(1, #world:records { type = "b" })
  end)
end)
