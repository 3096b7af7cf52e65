-- rackspace: Rackspace's hosted mail (emailsrvr.com).
--
-- Its replies end in (Gnn). Sources: its support centre; S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "rackspace") {
  mx = { "*.emailsrvr.com" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "421 .*\\(G2\\)", name = "too many connections", lasts = "1h", max_smtp_out = 1 },
    { "451 4\\.7\\.1 .*\\(G28\\)", name = "new address", lasts = "1h", max_smtp_out = 1, max_msg_rate = "60/h" },       -- warm up slower
    { "450 4\\.2\\.1 .*\\(G30\\)", name = "mailbox too busy", retry_recipients_after = "1h", scope = "recipient" },
    { "450 .*\\(G1F\\)", name = "reverse DNS", lasts = "1h", suspend = true, notify = true },
    inherit = true,
  },
}
