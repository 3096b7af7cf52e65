-- replies: for each row, a host of the provider says a reply until the rule that it is for has acted.
--
-- A row is { RULE, REPLY } and, where it matters, `at` (the command that gets it; RCPT) and what is to
-- be seen: an overlay of the rule's name, or `waits` (that recipient, so long), or `skips` (the next
-- host gets it).
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local replies = {}

local SECOND_HOST = "second-"

-- opts: site, domain, host (of its MX; the domain itself), rules.
local function begin(opts)
  local world = sim.world { policy = "policies/default.lua", seed = 1 }
  local host = opts.host or opts.domain
  world:dns { [opts.domain] = { mx = { { host, 10 }, { SECOND_HOST .. host, 20 } } } }
  local first = world:receiver(host) { latency = "20ms", starttls = true }
  local second = world:receiver(SECOND_HOST .. host) { latency = "20ms", starttls = true }
  return world, first, second
end

local function find(overlays, name)
  for _, overlay in ipairs(overlays) do
    if overlay.name == name then
      return overlay
    end
  end
end

local function lays(opts, row)
  local world, first, second = begin(opts)
  for _, host in ipairs { first, second } do
    host:answer { to = row.at or "RCPT", with = row[2] }
  end
  world:inject { to = "user@" .. opts.domain, count = 12 }
  local overlay
  for _ = 1, 90 do
    world:run_for "1m"
    overlay = find(world:overlays(opts.site .. "/default"), row[1])
    if overlay then
      break
    end
  end
  assert.is_not_nil(overlay, "no overlay of that name")
  assert.equal(row[2], overlay.reply)
  assert.matches("policies/providers/" .. (opts.file or opts.site) .. "%.lua:%d+$", overlay.declared_at)
end

local function waits(opts, row)
  local world, first, second = begin(opts)
  for _, host in ipairs { first, second } do
    host:answer { to = row.at or "RCPT", with = row[2], times = 1 }
  end
  world:inject { to = "user@" .. opts.domain }
  world:run_for(row.waits)
  assert.equal(0, first:messages() + second:messages())
  world:run_for(row.waits)
  assert.equal(1, first:messages() + second:messages())
end

local function skips(opts, row)
  local world, first, second = begin(opts)
  first:answer { to = row.at or "RCPT", with = row[2] }
  world:inject { to = "user@" .. opts.domain }
  world:run_for "5m"
  assert.equal(0, first:messages())
  assert.equal(1, second:messages())
end

function replies.of(opts)
  for _, row in ipairs(opts.rules) do
    it(row[1] .. ": " .. row[2], function()
      local how = row.waits and waits or row.skips and skips or lays
      how(opts, row)
    end)
  end
end

local LONG_SESSION = 200          -- messages; to fill a longer one takes days at a warming address's pace

-- What holds for the tier of policies/default.lua.
function replies.limits(opts, expected)
  it("has its limits", function()
    local world = begin(opts)
    world:inject { to = "user@" .. opts.domain }
    world:run_for "1m"
    local effective = world:effective(opts.site .. "/default")
    for name, value in pairs(expected) do
      assert.same(value, effective[name], name)
    end
  end)

  it("tries again later when no host answers", function()
    local world, first, second = begin(opts)
    first:down()
    second:down()
    world:inject { to = "user@" .. opts.domain }
    world:run_for "1m"
    local retry_after = world:effective(opts.site .. "/default").retry_after
    local seconds = type(retry_after) == "table" and retry_after[1] or retry_after
    first:up()
    world:run_until(seconds - 60)
    assert.equal(0, first:messages())
    world:run_for(seconds * 0.05 + 120)
    assert.equal(1, first:messages())
  end)

  local most = expected.max_msg_per_connection
  if most and most <= LONG_SESSION then
    it("begins a new session after " .. most .. " messages", function()
      local world, first = begin(opts)
      world:inject { to = "user@" .. opts.domain, count = 2 * most + 5 }
      world:run_for(most * 600)                         -- at 20 an hour, the slowest pace here
      assert.equal(2 * most + 5, first:messages())
      assert.is_true(first:connections() >= 3)
    end)
  end
end

return replies
