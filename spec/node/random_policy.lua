-- random_policy: a policy drawn by dice, as text, and as what the properties measure it by.
-- SPDX-License-Identifier: Apache-2.0
local WINDOWS = { m = 60, h = 3600, ["10m"] = 600, ["30s"] = 30 }
local WINDOW_NAMES = { "m", "h", "10m", "30s" }

local function rate(dice, low, high)
  local window = dice:pick(WINDOW_NAMES)
  local drawn = { n = dice:magnitude(low, high), window = WINDOWS[window] }
  drawn.text = ("%q"):format(drawn.n .. "/" .. window)
  if drawn.n > 2 and dice:chance(0.25) then
    drawn.text = ("{ %s, burst = %d }"):format(drawn.text, dice:between(1, drawn.n - 1))
  end
  return drawn
end

local function seconds(n)
  return { n = n, text = ("%q"):format(n .. "s") }
end

local function count(n)
  return { n = n, text = tostring(n) }
end

-- Sets settings[name] with a probability.
local function maybe(dice, settings, p, name, draw)
  if dice:chance(p) then
    settings[name] = draw()
  end
end

local function wide_caps(dice, settings, p)
  maybe(dice, settings, p, "max_smtp_out", function() return count(dice:between(1, 8)) end)
  maybe(dice, settings, p, "max_connect_rate", function() return rate(dice, 4, 200) end)
  maybe(dice, settings, p, "max_msg_rate", function() return rate(dice, 4, 500) end)
  return settings
end

local function queue_settings(dice)
  local s = wide_caps(dice, {}, 0.4)
  s.max_smtp_out = s.max_smtp_out or count(dice:between(2, 12))         -- keeps the domain a site of its own
  maybe(dice, s, 0.3, "total_max_smtp_out", function() return count(dice:between(1, 10)) end)
  maybe(dice, s, 0.2, "total_max_connect_rate", function() return rate(dice, 4, 200) end)
  maybe(dice, s, 0.2, "total_max_msg_rate", function() return rate(dice, 4, 500) end)
  maybe(dice, s, 0.4, "max_msg_per_connection", function() return count(dice:between(1, 12)) end)
  maybe(dice, s, 0.4, "max_rcpt_per_message", function() return count(dice:between(1, 6)) end)
  maybe(dice, s, 0.2, "max_errors_per_connection", function() return count(dice:between(1, 4)) end)
  maybe(dice, s, 0.2, "max_attempts", function() return count(dice:between(2, 6)) end)
  maybe(dice, s, 0.5, "idle_timeout", function() return seconds(dice:between(1, 60)) end)
  maybe(dice, s, 0.1, "paused", function() return { text = "true" } end)
  s.retry_after = seconds(dice:magnitude(5, 3600))
  s.retry_recipients_after = seconds(dice:magnitude(5, 3600))
  s.bounce_after = seconds(dice:magnitude(1800, 200000))
  for _, name in ipairs { "connect", "greeting", "command", "data", "final" } do
    s[name .. "_timeout"] = seconds(dice:between(10, 20))
  end
  return s
end

local REACTIONS = {
  '{ "slow down", lasts = "%ds", max_smtp_out = "50%%" }',
  '{ "slow down", lasts = "%ds", max_msg_rate = "30/m", scope = "site" }',
  '{ "busy", after = "3/10m", lasts = "%ds", suspend = true }',
  '{ "busy", lasts = "%ds", max_smtp_out = 1, recover = "+1/1m" }',
  '{ "later", retry_recipients_after = "%ds", scope = "recipient" }',
  '{ "later", lasts = "%ds", retry_after = "2m", defer = true }',
  '{ "full", lasts = "%ds", max_connect_rate = "6/m", close = true }',
  '{ at = "connect", "timed out", lasts = "%ds", max_smtp_out = 2 }',
}

local function backoff(dice)
  local rules = {}
  for _ = 1, dice:between(0, 3) do
    rules[#rules + 1] = dice:pick(REACTIONS):format(dice:magnitude(30, 7200))
  end
  return #rules > 0 and ("  backoff = { %s },\n"):format(table.concat(rules, ", ")) or ""
end

local function body(settings)
  local names, lines = {}, {}
  for name in pairs(settings) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("  %s = %s,\n"):format(name, settings[name].text)
  end
  return table.concat(lines)
end

local function vmtas(dice, plan, out)
  local members = {}
  for i = 1, dice:between(1, 3) do
    local vmta = { name = "mta-" .. i, source = "203.0.113." .. i, settings = wide_caps(dice, {}, 0.25) }
    plan.vmtas[i] = vmta
    members[i] = ("%q"):format(vmta.name)
    out[#out + 1] = ("vmta %q {\n  source = %q,\n%s}\n"):format(vmta.name, vmta.source, body(vmta.settings))
  end
  plan.pool = wide_caps(dice, {}, 0.2)
  out[#out + 1] = ("pool \"default\" {\n  %s,\n%s}\n"):format(table.concat(members, ", "), body(plan.pool))
end

-- A provider with two domains, or a domain: each domain is a host of its own.
local function site(dice, i)
  local drawn = { settings = queue_settings(dice) }
  if dice:chance(0.4) then
    drawn.name, drawn.hosts = "p" .. i, { ("a.p%d.example"):format(i), ("b.p%d.example"):format(i) }
    drawn.text = ("provider %q {\n  domains = { %q, %q },\n"):format(drawn.name, drawn.hosts[1], drawn.hosts[2])
  else
    drawn.name = ("d%d.example"):format(i)
    drawn.hosts = { drawn.name }
    drawn.text = ("domain %q {\n"):format(drawn.name)
  end
  drawn.text = drawn.text .. body(drawn.settings) .. backoff(dice) .. "}\n"
  return drawn
end

return function(dice)
  local plan = { vmtas = {}, sites = {}, node = {} }
  local out = { 'listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }\n' }
  maybe(dice, plan.node, 0.2, "max_smtp_out", function() return count(dice:between(2, 12)) end)
  maybe(dice, plan.node, 0.1, "max_msg_rate", function() return rate(dice, 20, 500) end)
  out[#out + 1] = ("node {\n%s}\n"):format(body(plan.node))
  vmtas(dice, plan, out)
  for i = 1, dice:between(1, 4) do
    plan.sites[i] = site(dice, i)
    out[#out + 1] = plan.sites[i].text
  end
  plan.text = table.concat(out)
  return plan
end
