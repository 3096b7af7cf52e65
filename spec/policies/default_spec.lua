-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("the default policy", function()
  local world, host
  before_each(function()
    world = sim.world { policy = "policies/default.lua" }
    host = world:receiver "example.org" { latency = "80ms" }
  end)

  it("goes slower than a receiver would mind", function()
    world:inject { to = "user@example.org", count = 3000 }
    world:run_until_idle()
    assert.equal(3000, host:messages())
    assert.is_true(host:rate_in_any "1m" <= 1200)
    assert.is_true(host:peak_connections() <= 2)
  end)

  it("warms up at a provider: 50 messages in any hour", function()
    local gmail = world:receiver "gmail.com" { latency = "80ms", starttls = true }
    world:inject { to = "user@gmail.com", count = 300 }
    world:run_for "3h"
    assert.is_true(gmail:rate_in_any "1h" <= 50)
    assert.is_true(gmail:messages() >= 140)
    assert.is_true(gmail:peak_connections() <= 2)
  end)

  it("asks a receiver that is down less and less often", function()
    host:down()
    world:inject { to = "user@example.org" }
    world:run_for "4h"
    -- At once, after 20 and 60 minutes, then hourly; each wait up to a twentieth longer.
    assert.is_true(#world:records { type = "tq" } >= 5)
    assert.is_true(#world:records { type = "tq" } <= 6)
    host:up()
    world:run_until_idle()
    assert.equal(1, host:messages())
  end)

  it("keeps mail over a long weekend, and then says that it could not be delivered", function()
    host:down()
    world:inject { to = "user@example.org", from = "me@example.net" }
    world:run_for "4d"
    assert.equal(1, world:queue("example.org/default").queued)
    world:run_for "13h"
    assert.equal(0, world:queue("example.org/default").queued)
    assert.equal(1, world:receiver("example.net"):messages())
  end)

  it("gets through greylisting at the second try", function()
    host:greylist "5m"
    world:inject { to = "user@example.org" }
    world:run_for "20m"
    assert.equal(1, host:messages())
    assert.equal(1, #world:records { type = "t" })
  end)
end)
