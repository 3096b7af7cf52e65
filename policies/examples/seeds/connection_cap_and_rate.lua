-- connection_cap_and_rate: 30 sessions, opened five a minute.
--
-- The cap is reached after 6 minutes if sessions stay open that long; how many
-- messages go through them is not limited.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

domain "example-receiver.com" {
  max_smtp_out     = 30,
  max_connect_rate = "5/m",
}
