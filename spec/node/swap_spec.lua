-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local PLAIN = "spec/node/plain.lua"

-- The plain policy with some text replaced, as a file that goes when the test is over.
local function changed(from, to)
  local text = assert(io.open(PLAIN)):read "*a"
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  local at, till = text:find(from, 1, true)
  out:write(text:sub(1, at - 1), to, text:sub(till + 1))
  out:close()
  finally(function() os.remove(file) end)
  return file
end

describe("a swap", function()
  local world
  before_each(function() world = sim.world { policy = PLAIN } end)

  it("puts another policy in force while mail flows, and loses nothing", function()
    world:inject { to = "u@gmail.com", count = 100 }
    world:run_for "1m"
    world:swap(changed('max_msg_rate = "600/h"', 'max_msg_rate = "3600/h"'))
    assert.equal("3600/h", world:effective("google/mta-1").max_msg_rate)
    assert.equal(2, world:status().generation)
    world:run_until_idle()
    assert.equal(100, world:receiver("gmail.com"):messages())
    assert.is_true(world:now() < 180)
  end)

  it("that is refused leaves the old policy in force, and names file and line", function()
    local file = changed("max_smtp_out = 3", "max_smtp_uot = 3")
    local fine, text = pcall(world.swap, world, file)
    assert.is_false(fine)
    assert.matches("^" .. file:gsub("%p", "%%%0") .. ":10: .*max_smtp_uot", text)
    assert.equal(1, world:status().generation)
    fine, text = pcall(world.swap, world, "no/such.lua")
    assert.is_false(fine)
    assert.matches("^no/such.lua: ", text)
  end)

  it("keeps what reactions laid", function()
    world:receiver("gmail.com"):answer { to = "MAIL", with = "421 RP-002 slow down", times = 1 }
    world:inject { to = "u@gmail.com" }
    world:run_for "1m"
    world:swap(PLAIN)
    assert.equal(2, world:effective("google/mta-1").max_smtp_out)
  end)

  it("is not remembered by a restart, which begins with the file it is given", function()
    world:swap(changed('max_msg_rate = "600/h"', 'max_msg_rate = "3600/h"'))
    world:restart()
    assert.equal("600/h", world:effective("google/mta-1").max_msg_rate)
  end)
end)
