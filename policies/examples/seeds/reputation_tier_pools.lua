-- reputation_tier_pools: pools of high, recovering and warming addresses for Gmail.
--
-- The same with and without angle brackets in the original. The warming pool sends
-- 50 an hour, which is 1200 a day.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

-- The original names no addresses: each pool gets one.
vmta "mta-1" { source = "any" }
vmta "mta-2" { source = "any" }
vmta "mta-3" { source = "any" }

-- mx-rollup gmail.com there: all domains whose mail goes to Google are one site.
provider "google" { domains = { "gmail.com", "googlemail.com" }, mx = { "*.google.com", "*.googlemail.com" } }

pool "high-rep-pool" { "mta-1", provider = { google = { max_smtp_out = 8 } } }

-- After an incident, until the reputation is back.
pool "recovering-pool" { "mta-2", provider = { google = { max_smtp_out = 4, retry_after = "20m" } } }

-- New addresses, without history.
pool "warming-pool" { "mta-3", provider = { google = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" } } }

on.message(function(msg)
  msg.pool = msg:header "X-Pool" or "high-rep-pool"
  msg:remove_header "X-Pool"
end)
