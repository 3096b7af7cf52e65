-- sluice.sim_receiver: the receivers of a world.
-- SPDX-License-Identifier: Apache-2.0
local native = require("sluice.world")
local check = require("sluice.sim_check")
local wrong, placed, must, unknown, text, flag, func, duration, positive, whole, count, rate, options, methods =
  check.wrong, check.placed, check.must, check.unknown, check.text, check.flag, check.func, check.duration,
  check.positive, check.whole, check.count, check.rate, check.options, check.methods

local Receiver = {}

local RECEIVER = {
  latency = duration, max_connections = function(name, value)
    return value == "unlimited" and 0 or count(name, value)
  end,
  rate = rate, starttls = flag, tls_valid = flag,
}

local STAGES = { connect = true, EHLO = true, MAIL = true, RCPT = true, DATA = true, ["."] = true }

local function stage(name, value)
  if not STAGES[text(name, value)] then
    unknown("stage", value, STAGES)
  end
  return value
end

local ANSWER = { to = stage, with = text, fn = func, when = func, times = whole(1, 1e9), every = whole(1, 1e9) }

local function interval(what, given)
  local o = options(what, given == nil and {} or given, { from = duration, to = duration })
  return o.from or 0, o.to or -1
end

local function observed(method)
  Receiver[method] = placed(function(self, given)
    return native.seen(self.native, method, interval(method, given))
  end)
end

observed "connections"
observed "messages"
observed "peak_connections"

Receiver.answer = placed(function(self, given)
  local rule = options("answer", given, ANSWER)
  must(rule.to, "answer: to: one of connect, EHLO, MAIL, RCPT, DATA and \".\"")
  if (rule.with == nil) == (rule.fn == nil) then
    wrong("answer: give either with or fn")
  end
  must(native.answer(self.native, rule))
  return self
end)

Receiver.greylist = placed(function(self, delay)
  native.greylist(self.native, positive("greylist", delay))
  return self
end)

Receiver.down = placed(function(self, how)
  if how ~= nil and how ~= "refuses" and how ~= "silent" then
    wrong('down: "refuses" or "silent", not %s', tostring(how))
  end
  native.down(self.native, how == "silent")
  return self
end)

Receiver.up = placed(function(self)
  native.up(self.native)
  return self
end)

Receiver.open = placed(function(self, source)
  return native.open(self.native, source ~= nil and text("open", source) or nil)
end)

Receiver.connected_at = placed(function(self) return native.connected_at(self.native) end)

Receiver.rate_in_any = placed(function(self, window)
  return native.rate_in_any(self.native, positive("rate_in_any", window))
end)

local receiver_meta = {
  __index = methods("a receiver", Receiver),
  __call = placed(function(self, given)
    local o = options("a receiver", given, RECEIVER)
    for name, value in pairs(o) do
      native.set(self.native, name, value)
    end
    return self
  end),
  __tostring = function(self) return "receiver " .. rawget(self, "host") end,
}

return function(host, of_native)
  return setmetatable({ host = host, native = of_native }, receiver_meta)
end
