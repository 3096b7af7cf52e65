-- inline_equals_form: ten sessions, opened one a second.
--
-- All ten are open after ten seconds, where ten at once would look like a storm.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

-- A sentence in the original (max-smtp-out=10, max-conn-rate=1/s), which holds for every site.
domain "*" {
  max_smtp_out     = 10,
  max_connect_rate = "1/s",
}
