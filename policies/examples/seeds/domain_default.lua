-- domain_default: the rule for smaller domains: 200 messages a second, over 50 sessions.
--
-- That takes 4 messages a second in each session. What is not delivered after four
-- days bounces.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

domain "*" {                                    -- <domain default> there
  max_msg_rate = "200/s",
  max_smtp_out = 50,
  bounce_after = "4d",
  retry_after  = "30m",
}
