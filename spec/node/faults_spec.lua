-- The disk fails, or the power goes, at each of its operations in turn, while mail is received, while it is delivered, while the
-- policy is swapped and while the node starts; and bits flip in what lies there. (Compaction: core/spool/spool_crash_test.c.)
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local PLAIN = "spec/node/plain.lua"
local HOST = "example.org"
local WINDOW_S = 0.05           -- what was delivered so long before the power went may not be written down yet

local Story = {}
Story.__index = Story

local function story(seed)
  local self = setmetatable({ world = sim.world { policy = PLAIN, seed = seed }, taken = {}, sessions = {}, accepted = 0 }, Story)
  self.host = self.world:receiver(HOST)
  self.host:answer { to = "RCPT", with = "450 4.2.1 busy", times = 2 }
  self.host:answer { to = "RCPT", fn = function(event)
    self.sessions[event.connection] = event.line:match("<(.-)>")
  end }
  self.host:answer { to = ".", fn = function(event)
    local rcpt = self.sessions[event.connection]
    self.taken[rcpt] = self.taken[rcpt] or {}
    table.insert(self.taken[rcpt], self.world:now())
  end }
  return self
end

function Story:inject(n)
  for _ = 1, n do
    local to = ("u%d@%s"):format(self.accepted + 1, HOST)
    if self.world:inject { to = to, size = self.accepted % 5 == 0 and "40K" or nil } == 1 then
      self.accepted = self.accepted + 1
    end
  end
end

function Story:start()
  return pcall(self.world.restart, self.world)
end

-- Each accepted recipient was taken, and once; twice only where the power went just after the first time. How many
-- were not taken at all, if that may be.
function Story:judge(context, cut_at, may_miss)
  self.host:up()
  self.world:run_until_idle()
  local missing = 0
  for i = 1, self.accepted do
    local taken = self.taken[("u%d@%s"):format(i, HOST)] or {}
    missing = missing + (#taken == 0 and 1 or 0)
    for k = 1, #taken - 1 do
      assert.is_true(cut_at ~= nil and taken[k] >= cut_at - WINDOW_S and taken[k] <= cut_at + WINDOW_S,
        ("%s: u%d came at %g s and again at %g s"):format(context, i, taken[k], taken[k + 1]))
    end
  end
  if not may_miss then
    assert.equal(0, missing, context)
  end
  return missing
end

local function receive(self) self:inject(8) end

-- For that long, or until over() says that it is.
local function go_on(self, seconds, over)
  local ends = self.world:now() + seconds
  self.world:run_until(function() return self.world:now() >= ends or (over and over()) or false end)
end

local function deliver(self, over)
  self.host:up()
  go_on(self, 360, over)
end

local function swap(self, over)
  self.world:swap(PLAIN)
  self.host:up()
  go_on(self, 120, over)
  self.world:swap(PLAIN)
  go_on(self, 240, over)
end

local PHASES = {
  { "receives", receive, function(self) self.host:down() end },
  { "delivers", deliver, function(self) self.host:down(); self:inject(8) end },
  { "swaps its policy", swap, function(self) self.host:down(); self:inject(8) end },
}

-- fn(story, n): a world in which the n-th operation is to fail. Goes on until there are no more. How many there were.
local function each_operation(before, fn)
  local n, reached = 0, true
  while reached do
    n = n + 1
    local self = story(n)
    before(self)
    local target = self.world:disk_calls() + n
    fn(self, n, target)
    reached = self.reached
  end
  return n - 1
end

for _, phase in ipairs(PHASES) do
  local name, run, before = phase[1], phase[2], phase[3]

  for _, says in ipairs { "EIO", "ENOSPC" } do
    it(("loses nothing and sends nothing twice when an operation says %s while it %s"):format(says, name), function()
      local n = each_operation(before, function(self, n, target)
        self.world:fault { disk_says = says, disk_error = n }
        run(self)
        self.reached = self.world:disk_calls() >= target
        self:judge(("operation %d"):format(n))
      end)
      assert.is_true(n > 5)
    end)
  end

  it(("loses nothing when the power goes at an operation while it %s"):format(name), function()
    local n = each_operation(before, function(self, n, target)
      self.world:fault { disk_cut = n }
      run(self, function() return self.world:disk_calls() >= target end)
      self.reached = self.world:disk_calls() >= target
      local cut_at = self.world:now()
      self.world:crash()
      assert.is_true(self:start())
      self:judge(("operation %d"):format(n), cut_at)
    end)
    assert.is_true(n > 5)
  end)
end

it("loses nothing when an operation fails, or the power goes, while it starts", function()
  for _, fault in ipairs { "disk_error", "disk_cut" } do
    local n = each_operation(function(self)
      self.host:down()
      self:inject(8)
      self.world:crash()
    end, function(self, n, target)
      self.world:fault { [fault] = n }
      local up = self:start()
      self.reached = self.world:disk_calls() >= target
      if up or fault == "disk_cut" then
        pcall(self.world.crash, self.world)
      end
      assert.is_true(self:start())
      self:judge(("%s %d"):format(fault, n))
    end)
    assert.is_true(n > 5)
  end
end)

-- A header whose length flipped takes those with it that were synced together with its message.
it("starts after a bit has flipped, and misses no more than the message it was in", function()
  local missing, more = 0, 0
  for seed = 1, 120 do
    local self = story(seed)
    self.host:down()
    self:inject(12)
    self.world:crash()
    self.world:fault { bit_flip = true }
    assert.is_true(self:start(), "seed " .. seed)
    local one = self:judge("seed " .. seed, nil, true)
    missing, more = missing + one, more + (one > 1 and 1 or 0)
  end
  assert.is_true(missing > 20, "bits of messages flipped too")
  assert.is_true(more <= 1, ("%d times more than one is missing"):format(more))
end)

it("sends again what a flipped bit made it forget, and no more", function()
  for seed = 1, 40 do
    local self = story(seed)
    self:inject(10)
    self.world:run_for "10s"                    -- the first two wait for their second try
    self.world:crash()
    self.world:fault { bit_flip = true }
    assert.is_true(self:start(), "seed " .. seed)
    assert.is_true(self:judge("seed " .. seed, 0, true) <= 1)
  end
end)

-- A sector holds several small messages; the large ones stand in many.
it("starts with a sector that went bad, misses no more than stood in it, and goes on", function()
  local missing, whole = 0, 0
  for seed = 1, 40 do
    local self = story(seed)
    self.host:down()
    self:inject(12)
    self.world:restart()                        -- so all that the journals say is on the disk
    self.world:crash()
    self.world:fault { bad_sector = true }
    assert.is_true(self:start(), "seed " .. seed)
    local here = self:judge("seed " .. seed, nil, true)
    missing, whole = missing + here, whole + (here == 0 and 1 or 0)
    assert.is_true(here <= 9, ("seed %d: %d are missing"):format(seed, here))
    self:inject(3)
    self.world:crash()
    assert.is_true(self:start(), "seed " .. seed)
    assert.equal(here, self:judge("seed " .. seed .. ", again", self.world:now(), true))
  end
  assert.is_true(missing > 4, ("only %d messages were missed: the sectors of mail went bad too"):format(missing))
  assert.is_true(whole > 5, "those of journals as well")
end)

it("reports to all other senders when messages that expire stand in a bad sector, and tries these once a minute", function()
  local seen = 0
  for seed = 1, 20 do
    local world = sim.world { policy = "expires.lua", seed = seed, text = [[
      listener "192.0.2.1:25" { relay_from = { "0.0.0.0/0" } }
      vmta "default" { source = "any" }
      domain "*" { bounce_after = "10m" }]] }
    world:receiver(HOST):down()
    local sender = world:receiver "sender.example"
    world:inject { to = function(n) return ("u%d@%s"):format(n, HOST) end, from = "s@sender.example", count = 30, size = 3000 }
    world:restart()                             -- so nothing is in memory any more
    world:fault { bad_sector = true }
    world:run_for "11m"
    local unread, calls = world:status().queued, world:disk_calls()
    world:run_for "1h"
    if unread > 0 and unread < 10 then          -- else it was a journal that went bad, or bytes that nobody reads
      seen = seen + 1
      assert.equal(30 - unread, sender:messages(), "seed " .. seed)
      assert.is_true(world:disk_calls() - calls <= 60 * 4 * unread, ("seed %d: %d calls in an hour"):format(seed, world:disk_calls() - calls))
    end
  end
  assert.is_true(seen > 2, "messages went bad in " .. seen)
end)

it("starts with a bad sector in whichever file, and sends again no more than that made it forget", function()
  for seed = 1, 30 do
    local self = story(seed)
    self:inject(10)
    self.world:run_for "10s"
    self.world:crash()
    self.world:fault { bad_sector = true }
    assert.is_true(self:start(), "seed " .. seed)
    self:judge("seed " .. seed, 0, true)
  end
end)
