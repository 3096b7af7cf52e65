-- combined_connection_control: 300 messages an hour.
--
-- The original computes 47,000 an hour from its sessions, and does not count the
-- 300/h that stands beside them.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

-- Bare lines in the original, which hold for every site.
domain "*" {
  max_smtp_out           = 8,
  max_connect_rate       = "1/s",               -- max-conn-rate there
  max_msg_rate           = "300/h",             -- this is what binds
  max_msg_per_connection = 100,                 -- max-msg-per-conn there
}
