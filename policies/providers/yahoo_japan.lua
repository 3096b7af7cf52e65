-- yahoo_japan: yahoo.co.jp, another company with hosts and limits of its own.
--
-- Sources: K (what KumoMTA ships). Nobody publishes tiers: high is K's limit, medium half of it.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "yahoo_japan") {
  domains = { "yahoo.co.jp" },
  mx      = { "*.yahoo.co.jp" },

  high    = { max_smtp_out = 2, max_msg_rate = "10/s" },        -- K
  medium  = { max_smtp_out = 1, max_msg_rate = "5/s", retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },   -- S002: the first week
  max_connect_rate       = "1/s",                               -- S002
  max_msg_per_connection = 20,                                  -- K

  backoff = {
    { "VS98-IP0", after = "2/1h", lasts = "1h", suspend = true },                                       -- K
    { "421 .*\\[(TSS|IPTS)04\\]", name = "TSS04", after = "2/1h", lasts = "1h", suspend = true },       -- K
    { "timeout waiting for command", name = "timeout", after = "2/1h", lasts = "30m", suspend = true }, -- K: it hangs up on who is not welcome
    inherit = true,
  },
}
