-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local PLAIN = "spec/node/plain.lua"

-- Each line: a mistake, and what is said of it; it is told at the line that makes it.
local function mistakes(world, host)
  return {
    { function() return (sim.world {}) end, "policy: which file" },
    { function() return (sim.world { policy = PLAIN, sede = 1 }) end, "sede: no such option of world %(seed%?%)" },
    { function() return (sim.world { policy = PLAIN, seed = 1.5 }) end, "seed: a whole number" },
    { function() return (sim.world { policy = PLAIN, workers = 129 }) end, "workers: a whole number from 1 to 128" },
    { function() return (world:restart { worker = 2 }) end, "worker: no such option of restart %(workers%?%)" },
    { function() return (sim.world "x") end, "world: a table is wanted, not a string" },
    { function() return (world:inject {}) end, "to: who is to get it" },
    { function() return (world:inject { to = "a@b.example", cuont = 2 }) end, "cuont: no such option of inject %(count%?%)" },
    { function() return (world:inject { to = "a@b.example", count = 0 }) end, "count: a whole number from 1" },
    { function() return (world:inject { to = {} }) end, "nobody is in the list" },
    { function() return (world:inject { to = 5 }) end, "to: an address, a list or a function is wanted, not a number" },
    { function() return (world:inject { to = "a b@c.example" }) end, "to: no address: a b@c.example" },
    { function() return (world:inject { to = "a@b.example", vmta = "mta-9" }) end, "vmta: .* declares no virtual MTA \"mta%-9\"" },
    { function() return (world:inject { to = "a@b.example", pool = "x" }) end, "pool: .* declares no pool \"x\"" },
    { function() return (world:inject { to = "a@b.example", pool = "other", vmta = "mta-1" }) end, "either vmta or pool" },
    { function() return (world:inject { to = "a@b.example", priority = 101 }) end, "priority: a whole number from 0 to 100" },
    { function() return (world:inject { to = "a@b.example", size = "big" }) end, "size: " },
    { function() return (world:inject { to = "a@b.example", rate = "much" }) end, "rate: " },
    { function() return (world:inject { to = "a@b.example", over = 0 }) end, "over: longer than nothing" },
    { function() return (world:inject { to = "a@b.example", headers = { ["a b"] = "x" } }) end, "no name of a field" },
    { function() return (world:inject { to = "a@b.example", headers = { a = "x\r\ny" } }) end, "no control characters" },
    { function() return (world:run_for "10 minutes") end, "run_for: " },
    { function() return (world:run_for()) end, "run_for: a duration is wanted" },
    { function() return (world:run_for(-1)) end, "run_for: " },
    { function() world:run_for "1m"; return (world:run_until "30s") end, "run_until: 30 s is over" },
    { function() return (world:why "gogle/mta-1") end, "no such queue: gogle/mta%-1 .*nearest: google/mta%-1" },
    { function() return (world:why "google/mta-9") end, "no such virtual MTA; nearest: google/mta%-1" },
    { function() return (world:queue "gmail.com/mta-1") end, "belongs to the provider \"google\"" },
    { function() return (world:effective "google") end, "a queue is called SITE/VMTA" },
    { function() return (world:overlays(5)) end, "overlays: a string is wanted, not a number" },
    { function() return (world:fault { tornwrite = true }) end, "tornwrite: no such option of fault %(torn_write%?%)" },
    { function() return (world:fault { clock_jump = "soon" }) end, "clock_jump: " },
    { function() return (world:fault { dns = "maybe" }) end, "no such answer of all DNS" },
    { function() return (world:dns { ["a.example"] = "servfial" }) end, "servfial: no such answer of DNS %(servfail%?%)" },
    { function() return (world:dns { ["a.example"] = { mxx = {} } }) end, "mxx: no such option" },
    { function() return (world:dns { ["a.example"] = { mx = { { 1, 2 } } } }) end, "{ host, preference } is wanted" },
    { function() return (world:records { typ = "d" }) end, "typ: no such option of records %(type%?%)" },
    { function() return (world:run_form "1m") end, "run_form: no such method of a world %(run_for%?%)" },
    { function() return (world:receiver "no name") end, "no name of a host" },
    { function() return (host { latncy = "80ms" }) end, "latncy: no such option of a receiver %(latency%?%)" },
    { function() return (host { max_connections = 0 }) end, "max_connections: a whole number from 1" },
    { function() return (host:answer { with = "250 ok" }) end, "to: one of connect" },
    { function() return (host:answer { to = "QUIT", with = "250 ok" }) end, "QUIT: no such stage" },
    { function() return (host:answer { to = "RCPT" }) end, "either with or fn" },
    { function() return (host:answer { to = "RCPT", with = "nonsense" }) end, "with: no reply: \"nonsense\"" },
    { function() return (host:answer { to = "RCPT", with = "450 x", times = 0 }) end, "times: a whole number from 1" },
    { function() return (host:greylist "x") end, "greylist: " },
    { function() return (host:down "a bit") end, "down: \"refuses\" or \"silent\"" },
    { function() return (host:peak { from = 0 }) end, "peak: no such method of a receiver" },
    { function() return (host:messages { form = 0 }) end, "form: no such option of messages %(from%?%)" },
    { function() return (host:rate_in_any()) end, "rate_in_any: a duration is wanted" },
  }
end

describe("wrong use", function()
  it("is an error at the line that makes it", function()
    local world = sim.world { policy = PLAIN }
    for _, mistake in ipairs(mistakes(world, world:receiver "example.org")) do
      local line = debug.getinfo(mistake[1], "S").linedefined
      local fine, text = pcall(mistake[1])
      assert.is_false(fine, "no error: " .. mistake[2])
      assert.matches("^spec/node/wrong_use_spec.lua:" .. line .. ": ", text)
      assert.matches(mistake[2], text)
    end
  end)

  it("of a policy is told at the policy's line", function()
    local file = os.tmpname()
    local out = assert(io.open(file, "w"))
    out:write('vmta "a" { source = "any" }\nprovider "x" { domains = { "x.example" }, max_smtp_uot = 1 }\n')
    out:close()
    local fine, text = pcall(sim.world, { policy = file })
    os.remove(file)
    assert.is_false(fine)
    assert.matches("^" .. file:gsub("%p", "%%%0") .. ":2: .*max_smtp_out", text)
    fine, text = pcall(sim.world, { policy = "no/such/file.lua" })
    assert.is_false(fine)
    assert.matches("no/such/file.lua", text)
  end)

  it("inside a function that the world calls stops the run there", function()
    local world = sim.world { policy = PLAIN }
    local host = world:receiver "example.org"
    host:answer { to = "RCPT", fn = function(event) return event.lin:upper() end }
    local line = debug.getinfo(1, "l").currentline - 1
    world:inject { to = "a@example.org" }
    local fine, text = pcall(world.run_for, world, "1m")
    assert.is_false(fine)
    assert.matches("^spec/node/wrong_use_spec.lua:" .. line .. ": ", text)
    fine, text = pcall(function() world:run_until(function() return nothing.at.all end) end)
    assert.is_false(fine)
    assert.matches("^spec/node/wrong_use_spec.lua:" .. line + 6 .. ": attempt to index", text)
    host:answer { to = "RCPT", fn = function() error({ as = "it is" }) end }
    fine, text = pcall(function() world:run_for "10m" end)
    assert.is_false(fine)
    assert.equal("it is", text.as)
    host:answer { to = "RCPT", fn = function() return "hello" end }
    fine, text = pcall(function() world:run_for "10m" end)
    assert.is_false(fine)
    assert.matches("^spec/node/wrong_use_spec.lua:" .. line + 14 .. ": answer: fn: no reply: hello", text)
    host:answer { to = "RCPT", fn = function() assert.equal(1, 2) end }
    fine, text = pcall(function() world:run_for "10m" end)
    assert.is_false(fine)
    assert.equal(line + 17, text.line)
    host:answer { to = "RCPT", with = "250 ok" }
    world:run_until_idle()
    assert.equal(1, host:messages())
  end)

  it("of a world from within itself is refused", function()
    local world = sim.world { policy = PLAIN }
    world:receiver("example.org"):answer { to = "MAIL", fn = function() world:run_for "1s" end }
    world:inject { to = "a@example.org" }
    local fine, text = pcall(world.run_for, world, "1m")
    assert.is_false(fine)
    assert.matches("the world is running", text)
  end)

  it("is a second crash, and asking a node that is down", function()
    local world = sim.world { policy = PLAIN }
    world:crash()
    for _, call in ipairs { function() world:crash() end, function() world:inject { to = "a@example.org" } end,
                            function() world:run_until_idle() end, function() world:status() end } do
      local fine, text = pcall(call)
      assert.is_false(fine)
      assert.matches("down", text)
    end
  end)
end)
