-- hotmail_template: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("hotmail_template", function()
  local world, hotmail
  before_each(function()
    world = sim.world { policy = "policies/examples/seeds/hotmail_template.lua", seed = 1 }
    hotmail = world:receiver "hotmail.com" { latency = "80ms" }
  end)

  it("sends 5000 an hour, over at most 20 sessions", function()
    world:inject { to = "user@hotmail.com", count = 12000 }
    world:run_for "2h"
    assert.is_true(hotmail:rate_in_any "1h" <= 5000)
    assert.is_true(hotmail:messages() >= 9800)
    assert.is_true(hotmail:peak_connections() <= 20)
  end)

  it("goes on with 5 sessions and 1000 an hour after RP-001, for an hour", function()
    hotmail:answer { to = "MAIL", with = "421 RP-001 rate limit", times = 1 }
    world:inject { to = "user@hotmail.com", count = 12000 }
    world:run_for "1h"
    assert.is_true(hotmail:messages { from = "1m", to = "60m" } <= 1000)
    assert.is_true(hotmail:messages { from = "1m", to = "60m" } >= 900)
    assert.is_true(hotmail:peak_connections { from = "1m", to = "60m" } <= 5)
    world:run_for "1h"
    assert.is_true(hotmail:messages { from = "61m", to = "120m" } >= 4500)
  end)

  it("goes on with 2 sessions and 500 an hour after 4.3.2, for 45 minutes", function()
    hotmail:answer { to = "MAIL", with = "421 4.3.2 Service not available", times = 1 }
    world:inject { to = "user@hotmail.com", count = 12000 }
    world:run_for "45m"
    assert.is_true(hotmail:messages { from = "1m", to = "44m" } <= 375)
    assert.is_true(hotmail:peak_connections { from = "1m", to = "44m" } <= 2)
    assert.equal(2, world:effective("microsoft/mta-1").max_smtp_out)
    world:run_for "1m"
    assert.equal(20, world:effective("microsoft/mta-1").max_smtp_out)
  end)
end)
