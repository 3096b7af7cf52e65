-- sluice.sim: worlds, for specs.
--
-- Here every argument is checked (sluice.sim_check), so that a mistake is told at the line
-- that made it; what is left goes to sim/world_lua.c in plain numbers: seconds, bytes, counts.
--
-- SPDX-License-Identifier: Apache-2.0
local native = require("sluice.world")
local receiver = require("sluice.sim_receiver")
local check = require("sluice.sim_check")
local wrong, placed, must, list, unknown, article, text, flag, plain, duration, positive, whole, count, rate, size,
  address, options, methods =
  check.wrong, check.placed, check.must, check.list, check.unknown, check.article, check.text, check.flag,
  check.plain, check.duration, check.positive, check.whole, check.count, check.rate, check.size, check.address,
  check.options, check.methods

local sim = {}
-- The worlds that were made since the test began: the last few, and those before them while somebody has them, or a
-- test of a thousand seeds would hold a thousand nodes. And those from before the test.
local function weak() return setmetatable({}, { __mode = "v" }) end
local runner = { new = {}, older = weak(), kept = weak(), made = 0 }

local NEW_MAX = 16

-- ---- worlds ----

local World = {}

local WORKERS_MAX = 128
local WORLD = { policy = text, text = text, seed = whole(0, 2 ^ 53), workers = whole(1, WORKERS_MAX) }
local RESTART = { workers = whole(1, WORKERS_MAX) }

World.receiver = placed(function(self, host)
  host = text("receiver", host):lower()
  local known = self.receivers[host]
  if not known then
    known = receiver(host, must(native.receiver(self.native, host)))
    self.receivers[host] = known
  end
  return known
end)

local function recipients(name, value)
  if type(value) == "table" then
    if #value == 0 then
      wrong("%s: nobody is in the list", name)
    end
    for _, one in ipairs(value) do
      address(name, one)
    end
  elseif type(value) ~= "function" then
    if type(value) ~= "string" then
      wrong("%s: an address, a list or a function is wanted, not %s", name, article(type(value)))
    end
    address(name, value)
  end
  return value
end

local function headers(name, value)
  if type(value) ~= "table" then
    wrong("%s: a table is wanted, not %s", name, article(type(value)))
  end
  for field, content in pairs(value) do
    if type(field) ~= "string" or not field:find("^[!-9;-~]+$") then
      wrong("%s: no name of a field: %s", name, tostring(field))
    end
    plain(name .. ": " .. field, content)
  end
  local fields = {}
  for _, field in ipairs(list(value)) do
    fields[#fields + 1] = { field, value[field] }
  end
  return fields
end

local INJECT = {
  to = recipients, count = count, from = address, vmta = plain, pool = plain, job = plain, priority = whole(0, 100),
  size = size, headers = headers, rate = rate, over = positive,
}

-- rate and over say the same; with both, the count follows.
local function spread(o)
  if o.rate then
    if o.rate[1] == 0 then
      wrong("rate: unlimited is all at once: leave it out")
    elseif o.over and not o.count then
      o.count = math.max(1, math.floor(o.over * o.rate[1] / o.rate[2] + 0.5))
    elseif o.over then
      wrong("inject: give two of count, rate and over")
    else
      o.over = (o.count or 1) * o.rate[2] / o.rate[1]
    end
  end
  o.rate = nil
end

World.inject = placed(function(self, given)
  local o = options("inject", given, INJECT)
  must(o.to, "inject: to: who is to get it?")
  if o.vmta and o.pool then
    wrong("inject: give either vmta or pool")
  end
  spread(o)
  if type(o.to) == "string" then
    o.to = { o.to }
  end
  local accepted, refusal, has_place = native.inject(self.native, o)
  must(accepted, refusal, has_place)
  return accepted, refusal
end)

World.run_for = placed(function(self, given)
  must(native.run_until(self.native, native.now(self.native) + duration("run_for", given)))
end)

World.run_until = placed(function(self, given)
  if type(given) == "function" then
    must(native.run_while(self.native, function() return not given() end))
    return
  end
  local at = duration("run_until", given)
  if at < native.now(self.native) then
    wrong("run_until: %g s is over: it is %g s", at, native.now(self.native))
  end
  must(native.run_until(self.native, at))
end)

World.run_until_idle = placed(function(self) must(native.run_until_idle(self.native)) end)
World.disk_calls = placed(function(self) return native.disk_calls(self.native) end)
World.now = placed(function(self) return native.now(self.native) end)
World.seed = placed(function(self) return native.seed(self.native) end)

for _, name in ipairs { "why", "queue", "effective" } do
  World[name] = placed(function(self, queue)
    return must(native.ask(self.native, name, text(name, queue)))
  end)
end

World.overlays = placed(function(self, queue)
  return must(native.ask(self.native, "why", text("overlays", queue))).overlays
end)

World.status = placed(function(self) return must(native.ask(self.native, "status", "")) end)

World.records = placed(function(self, given)
  local kinds = {}
  for _, name in ipairs(native.fields) do
    kinds[name] = text
  end
  return native.records(self.native, given ~= nil and options("records", given, kinds) or nil)
end)

World.swap = placed(function(self, file, given)
  must(native.swap(self.native, text("swap", file), given ~= nil and text("swap", given) or nil))
end)
World.crash = placed(function(self) must(native.crash(self.native)) end)
World.restart = placed(function(self, given)
  must(native.restart(self.native, given ~= nil and options("restart", given, RESTART).workers or nil))
end)
World.digest = placed(function(self) return native.digest(self.native) end)

local DNS_FAULTS = { servfail = true, timeout = true, ok = true }

local function dns_fault(name, value)
  if not DNS_FAULTS[text(name, value)] then
    unknown("answer of all DNS", value, DNS_FAULTS)
  end
  return value
end

local function jump(name, value)
  local back = type(value) == "string" and value:match("^%-(.+)$")
  return back and -duration(name, back) or duration(name, value)
end

local DISK_SAYS = { EIO = true, ENOSPC = true }

local function disk_says(name, value)
  if not DISK_SAYS[text(name, value)] then
    unknown("error of a disk", value, DISK_SAYS)
  end
  return value
end

local function yes(name, value)
  return flag(name, value) or wrong("%s: true is wanted: it happens at once", name)
end

local FAULT = {
  torn_write = flag, lying_sync = flag, disk_full = flag, disk_error = count, disk_cut = count, disk_says = disk_says,
  bit_flip = yes, bad_sector = yes, clock_jump = jump, dns = dns_fault,
}

World.fault = placed(function(self, given)
  for name, value in pairs(options("fault", given, FAULT)) do
    must(native.fault(self.native, name, value))
  end
end)

local DNS_ANSWERS = { servfail = true, nxdomain = true, timeout = true }

local function exchangers(domain, mx)
  if type(mx) ~= "table" then
    wrong("dns: %s: mx: a list of { host, preference } is wanted, not %s", domain, article(type(mx)))
  end
  local result = {}
  for i, one in ipairs(mx) do
    one = type(one) == "string" and { one, 10 } or one
    if type(one) ~= "table" or type(one[1]) ~= "string" then
      wrong("dns: %s: mx: { host, preference } is wanted, as in { \"mx1.example\", 10 }", domain)
    end
    result[i] = { one[1], whole(0, 65535)("dns: " .. domain .. ": preference", one[2] == nil and 10 or one[2]) }
  end
  return result
end

local function addresses(domain, given)
  local result = type(given) == "string" and { given } or given
  if type(result) ~= "table" then
    wrong("dns: %s: address: a list is wanted, not %s", domain, article(type(given)))
  end
  for _, one in ipairs(result) do
    text("dns: " .. domain .. ": address", one)
  end
  return result
end

World.dns = placed(function(self, given)
  if type(given) ~= "table" then
    wrong("dns: a table is wanted, not %s", article(type(given)))
  end
  for domain, answer in pairs(given) do
    if type(domain) ~= "string" then
      wrong("dns: a domain is wanted, not %s", article(type(domain)))
    elseif type(answer) == "string" then
      if not DNS_ANSWERS[answer] then
        unknown("answer of DNS", answer, DNS_ANSWERS)
      end
      must(native.dns(self.native, domain, answer))
    else
      local o = options("dns: " .. domain, answer, {
        mx = function(_, mx) return exchangers(domain, mx) end,
        address = function(_, list_) return addresses(domain, list_) end,
      })
      must(native.dns(self.native, domain, o))
    end
  end
end)

local world_meta = {
  __index = methods("a world", World),
  __tostring = function(self) return "world of " .. rawget(self, "policy") end,
}

local host = package.loaded["sluice.host"] or {}

-- Lua takes a world for a few bytes, so it is told when to look for those that nobody has.
local function remember(world)
  runner.made = runner.made + 1
  if #runner.new == NEW_MAX then
    runner.older[table.maxn(runner.older) + 1] = table.remove(runner.new, 1)
  end
  runner.new[#runner.new + 1] = world
  if runner.made % NEW_MAX == 0 then
    collectgarbage()
  end
end

-- Calls fn with each of a weak list that is still there.
local function each_left(list_, fn)
  for i = 1, table.maxn(list_) do
    if list_[i] then
      fn(list_[i])
    end
  end
end

-- A world { policy = FILE, seed = N }: FILE is relative to where the command was started. With text = "…" as
-- well, that is the policy, and FILE only what it is called; so in swap(FILE, text). workers = N: that many,
-- whatever the policy says.
sim.world = placed(function(given)
  local o = options("world", given, WORLD)
  must(o.policy, "world: policy: which file?")
  local world = setmetatable({ policy = o.policy, receivers = {} }, world_meta)
  if host.coverage then
    native.cover()
  end
  world.native = must(native.new(o.policy, o.seed or host.seed or 1, o.text, o.workers))
  remember(world)
  return world
end)

-- ---- what the runner asks ----

local function report_on(world, lines)
  for _, line in ipairs(native.report(world.native)) do
    lines[#lines + 1] = line
  end
end

sim._runner = {
  seed = function(seed) host.seed = seed end,
  begin = function()
    local function keep(world) runner.kept[table.maxn(runner.kept) + 1] = world end
    each_left(runner.older, keep)
    each_left(runner.new, keep)
    runner.new, runner.older, runner.made = {}, weak(), 0
  end,
  report = function()
    local lines = {}
    local function report(world) report_on(world, lines) end
    each_left(runner.kept, report)
    each_left(runner.older, report)
    each_left(runner.new, report)
    return lines
  end,
  finish = function()
    local function free(world) native.free(world.native) end
    each_left(runner.older, free)
    each_left(runner.new, free)
    runner.new, runner.older, runner.made = {}, weak(), 0
  end,
  coverage = function() return native.coverage() end,
}

return sim
