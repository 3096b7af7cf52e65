-- low_risk_sensitive: 60 messages an hour to a provider that minds.
--
-- 12 connections an hour with 5 messages each; the 120/h is never reached.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

domain "hotmail.com" {
  max_smtp_out           = 2,
  max_connect_rate       = "12/h",              -- this is what binds
  max_msg_per_connection = 5,
  -- max_msg_rate 120/h there: never reached, and `check` says so of whoever writes it
  retry_after            = "1h",
  retry_recipients_after = "1h",
}
