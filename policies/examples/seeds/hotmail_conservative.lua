-- hotmail_conservative: four sessions, and 200 messages an hour.
--
-- 20 connections an hour with 10 messages each are 200 an hour: the 400/h that the
-- configuration asks for is never reached. To have it, allow 40 connections.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

domain "hotmail.com" {
  max_smtp_out           = 4,
  max_connect_rate       = "20/h",              -- this is what binds
  max_msg_per_connection = 10,
  -- max_msg_rate 400/h there: never reached, and `check` says so of whoever writes it
  retry_after            = "1h",                -- of the queue, after a connection that failed
  retry_recipients_after = "30m",               -- of a recipient, after a 4xx
}
