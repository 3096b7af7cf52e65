-- Where nothing is in the way but limits, mail goes as fast as they let it.
-- SEEDS = 60
-- SPDX-License-Identifier: Apache-2.0
local new_dice = require "dice"
local sim = require "sluice.sim"

-- What N recipients may take: at 1/40 less than the rate and with its pauses, and then some for what several limits cost together.
local function longest(n, rates, latency, cap)
  local seconds = 60 + n * 8 * latency / cap
  for _, rate in ipairs(rates) do
    seconds = seconds + 1.25 * n * rate.window / rate.n + rate.window
  end
  return seconds
end

describe("mail for receivers that take everything", function()
  it("is all delivered in the time that the limits make it", function()
    local dice = new_dice(require("sluice.host").seed)
    local rates, lines = {}, {}
    local function rate(name)
      local drawn = { n = dice:magnitude(6, 600), window = dice:pick { 60, 600, 3600 } }
      local burst = dice:chance(0.3) and drawn.n > 3 and dice:between(1, drawn.n / 2)
      rates[#rates + 1] = { n = drawn.n - (burst or 0), window = drawn.window }
      local text = ('"%d/%ds"'):format(drawn.n, drawn.window)
      lines[#lines + 1] = ("%s = %s"):format(name, burst and ("{ %s, burst = %d }"):format(text, burst) or text)
    end
    for _, name in ipairs { "max_msg_rate", "total_max_msg_rate", "max_connect_rate", "total_max_connect_rate" } do
      if dice:chance(0.4) then
        rate(name)
      end
    end
    local cap, latency = dice:between(1, 6), dice:pick { 0.001, 0.05, 0.5 }
    lines[#lines + 1] = "max_smtp_out = " .. cap
    if dice:chance(0.5) then
      lines[#lines + 1] = "total_max_smtp_out = " .. cap
    end
    if dice:chance(0.5) then
      lines[#lines + 1] = "max_msg_per_connection = " .. dice:between(1, 5)
    end
    local world = sim.world { policy = "random.lua", text = ([[
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "203.0.113.1" }
vmta "mta-2" { source = "203.0.113.2" }
pool "default" { "mta-1", "mta-2" }
provider "p" { domains = { "a.example", "b.example" }, bounce_after = "52w", %s }
]]):format(table.concat(lines, ", ")) }
    local made, n = 0, dice:magnitude(1, 400)
    local hosts = { "a.example", "b.example" }
    for _, host in ipairs(hosts) do
      world:receiver(host) { latency = latency }
    end
    world:inject { count = n, to = function(i) return "u" .. i .. "@" .. dice:pick(hosts) end }
    made = made + n
    world:run_until_idle()
    assert.equal(made, #world:records { type = "d" })
    local bound = longest(n, rates, latency, cap)
    assert.is_true(world:now() <= bound, ("%d took %g s, %g should do; %s"):format(n, world:now(), bound, table.concat(lines, ", ")))
  end)
end)
