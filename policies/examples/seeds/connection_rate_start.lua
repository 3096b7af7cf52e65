-- connection_rate_start: 2000 messages an hour.
--
-- That is one in 1.8 seconds, so most of 1000 sessions never open. The original says
-- so itself: adjust it for each provider, never set it for all.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

domain "*" {
  max_smtp_out     = 1000,
  max_connect_rate = "100/m",
  max_msg_rate     = "2000/h",                  -- this is what binds
}
