-- customer_limits: each customer's own limits, told by the job that a message belongs to.
--
-- A virtual MTA stands for a customer: what it may send at all, and to whom how much.
-- Jobs of one customer share its queues in turns, so that a newsletter of a million
-- does not make the reminder that was sent after it wait.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

require "providers.all" { tier = "high" }
require "providers.everybody" { tier = "high" }

-- Pays for 2000 an hour, over all that it sends.
vmta "acme" {
  source       = "any",
  max_msg_rate = "2000/h",
  provider     = { google = { max_msg_rate = "500/h" } },       -- its lists are young: few of them to Gmail
}

-- A large one with an address of its own, on a real host.
vmta "globex" {
  source       = "any",
  max_smtp_out = 200,
}

-- A job is called CUSTOMER-NUMBER, as in acme-4711.
local customers = { acme = "acme", globex = "globex" }

on.message(function(msg)
  local job = msg:header "X-Job" or ""
  local customer = customers[job:match "^(%w+)%-%d+$" or ""]
  if not customer then
    return reject "550 5.7.1 X-Job names no customer"
  end
  msg.vmta = customer
  msg.job = job
  -- Reminders and the like, which are few, before newsletters.
  msg.priority = msg:header "X-Urgent" and 90 or 50
  msg:remove_header "X-Job"
  msg:remove_header "X-Urgent"
end)
