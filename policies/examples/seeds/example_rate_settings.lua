-- example_rate_settings: 500 messages an hour, whatever the 1000/h says.
--
-- 50 connections an hour with 10 messages each. 100,000 messages take 200 hours.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

-- Bare lines in the original, which hold for every site.
domain "*" {
  max_smtp_out           = 10,
  max_msg_per_connection = 10,
  -- max_msg_rate 1000/h there: never reached, and `check` says so of whoever writes it
  max_connect_rate       = "50/h",              -- this is what binds
}
