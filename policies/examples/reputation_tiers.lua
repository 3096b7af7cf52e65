-- reputation_tiers: an address moves from pool to pool as its reputation grows.
--
-- The figures are the seeds' for the pools of high, recovering and warming addresses.
-- To promote an address, move its name to the next pool and reload: mail that waits
-- stays where it is, and the new limits hold at once.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

-- On a real host each has an address of its own, as in source = "203.0.113.10".
vmta "mta-1" { source = "any" }
vmta "mta-2" { source = "any" }
vmta "mta-3" { source = "any" }
vmta "mta-4" { source = "any" }

-- What holds for an address of high reputation, and for whatever a pool doesn't say.
require "providers.all" { tier = "high" }
require "providers.everybody" { tier = "high" }

pool "high" { "mta-1", "mta-2" }

pool "recovering" {
  "mta-3",
  provider = {
    google    = { max_smtp_out = 4, retry_after = "20m" },
    microsoft = { max_smtp_out = 3, retry_after = "20m" },
    yahoo     = { max_smtp_out = 4, retry_after = "20m" },
    gmx       = { max_smtp_out = 2, retry_after = "20m" },
    orange    = { max_smtp_out = 1, retry_after = "20m" },
  },
}

pool "warming" {
  "mta-4",
  provider = {
    google    = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },
    microsoft = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
    yahoo     = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },
    gmx       = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
    orange    = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  },
}

-- A message in 20 warms the new address up; the rest keeps to those that are known.
on.message(function(msg)
  msg.pool = msg:header "X-Pool" or (math.random(20) == 1 and "warming" or "high")
  msg:remove_header "X-Pool"
end)
