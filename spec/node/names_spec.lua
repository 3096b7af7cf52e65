-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("names that a spec sets", function()
  local world
  before_each(function() world = sim.world { policy = "spec/node/plain.lua" } end)

  local function bounce_of(domain, answer)
    world:dns { [domain] = answer }
    world:inject { to = "u@" .. domain, from = "" }
    world:run_until_idle()
    return world:records { type = "b", rcpt = "u@" .. domain }[1].dsnStatus
  end

  it("are felt by the next message, however long the last answer would have lasted", function()
    local function send() world:inject { to = "u@a.example" }; world:run_for "10s" end
    send()
    world:dns { ["a.example"] = { mx = { { "new.example", 10 } } } }
    send()
    assert.equal(1, world:receiver "a.example":messages())
    assert.equal(1, world:receiver "new.example":messages())
    world:dns { ["a.example"] = "nxdomain" }
    world:inject { to = "u@a.example", from = "" }
    world:run_for "1s"
    assert.equal(1, #world:records { type = "b" })
    world:dns { ["a.example"] = { mx = { "new.example" } } }
    send()
    assert.equal(2, world:receiver "new.example":messages())
  end)

  it("may be the null MX, as a dot or as nothing", function()
    assert.matches("^5.1.10", bounce_of("a.example", { mx = { { ".", 0 } } }))
    assert.matches("^5.1.10", bounce_of("b.example", { mx = { { "", 0 } } }))
  end)

  it("are the same in capitals and with a final dot", function()
    world:dns { ["A.example."] = { mx = { { "MX1.Example.", 10 } } } }
    world:inject { to = "u@a.example" }
    world:run_until_idle()
    assert.equal(1, world:receiver "mx1.example":messages())
  end)

  it("that are none are refused", function()
    assert.has_error(function() world:dns { ["a b"] = "servfail" } end)
    assert.has_error(function() world:dns { ["a.example"] = { mx = { { "no host", 10 } } } } end)
  end)

  it("lead to an address without MX, and never to this machine", function()
    world:dns { ["a.example"] = { mx = {} } }
    world:inject { to = "u@a.example" }
    world:run_until_idle()
    assert.equal(1, world:receiver "a.example":messages())
    assert.matches("^5.1.2", bounce_of("none.example", { mx = {}, address = {} }))
    world:dns { ["lo.example"] = { address = "127.0.0.1" } }
    assert.matches("^5.4.4", bounce_of("b.example", { mx = { { "lo.example", 10 } } }))
  end)

  it("of equal preference share the mail, and the others stand by", function()
    world:dns { ["a.example"] = { mx = { { "c.example", 20 }, { "x.example", 10 }, { "y.example", 10 } } } }
    local x, y = world:receiver "x.example", world:receiver "y.example"
    world:inject { to = "u@a.example", count = 40, over = "40m" }
    world:run_for "41m"
    assert.equal(40, x:messages() + y:messages())
    assert.is_true(x:messages() > 5 and y:messages() > 5)
    x:down()
    y:down()
    world:inject { to = "u@a.example" }
    world:run_for "1m"
    assert.equal(1, world:receiver "c.example":messages())
  end)

  it("with the same hosts are one site, called after the first of them", function()
    world:dns { ["a.example"] = { mx = { { "mx2.shared.example", 10 }, { "mx1.shared.example", 10 } } },
                ["b.example"] = { mx = { { "mx1.shared.example", 5 }, { "mx2.shared.example", 5 }, { "o.example", 50 } } } }
    for _, host in ipairs { "mx1.shared.example", "mx2.shared.example", "o.example" } do
      world:receiver(host):down()
    end
    world:inject { to = "u@a.example" }
    world:inject { to = "u@b.example" }
    world:run_for "10s"
    assert.equal(2, world:queue "mx1.shared.example/mta-1".queued)
  end)
end)
