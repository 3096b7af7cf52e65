-- hotmail_conservative: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("hotmail_conservative", function()
  it("sends 200 messages an hour, for connections bind", function()
    local world = sim.world { policy = "policies/examples/seeds/hotmail_conservative.lua", seed = 1 }
    local receiver = world:receiver "hotmail.com" { latency = "80ms" }
    world:inject { to = "user@hotmail.com", count = 1000 }
    world:run_for "4h"
    assert.is_true(receiver:rate_in_any "1h" <= 200)
    assert.is_true(receiver:messages() >= 760)
    assert.is_true(receiver:peak_connections() <= 4)
  end)
end)
