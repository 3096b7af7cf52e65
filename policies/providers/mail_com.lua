-- mail_com: mail.com, of GMX's house, with a limit of its own.
--
-- Sources: K (what KumoMTA ships) for the messages of a connection; its connections as GMX's (S002).
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "mail_com") {
  domains = { "mail.com" },
  mx      = { "*.mail.com" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                               -- S002: ten at once look like a storm
  max_msg_per_connection = 100,                         -- K

  backoff = {
    { "421 .*rate limit reached", name = "rate limit", lasts = "1h", max_smtp_out = 1, max_msg_rate = "60/h" },
    { "554 .*nemesis.*block ?listed", name = "block listed", lasts = "2h", suspend = true, notify = true },
    inherit = true,
  },
}
