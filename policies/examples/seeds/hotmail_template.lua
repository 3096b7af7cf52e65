-- hotmail_template: Microsoft's mailboxes at 5000 an hour, with two reactions.
--
-- Six names of the original are not PowerMTA's, one is deprecated there; what they
-- mean stands beside what they became. bounce-on-4xx-status false, log-delivery-failures
-- and log-fallback-failures are how sluice works anyway. dkim-sign has no counterpart yet.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

provider "microsoft" {                          -- queue-to hotmail.com: all of Microsoft's names in one queue
  domains = { "hotmail.com", "outlook.com", "live.com", "msn.com" },
  mx      = { "*.olc.protection.outlook.com" },

  retry_after            = "30m",               -- retry-interval
  retry_recipients_after = "15m",               -- min-retry-interval
  bounce_after           = "4d",                -- max-retry-time

  max_smtp_out              = 20,
  max_msg_per_connection    = 100,
  max_errors_per_connection = 5,
  total_max_msg_rate        = "5000/h",         -- max-msg-per-hour, "global cap for this domain group"

  use_starttls     = true,
  require_starttls = false,

  backoff = {
    { "421 RP-001",    lasts = "1h",  max_smtp_out = 5, max_msg_rate = "1000/h" },     -- 421 RP-001 *, 1h, 5, 1000
    { "421 4\\.3\\.2", lasts = "45m", max_smtp_out = 2, max_msg_rate = "500/h" },      -- 421 4.3.2 *, 45m, 2, 500
  },
}
