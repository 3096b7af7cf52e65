-- godaddy: GoDaddy's hosted mail (secureserver.net).
--
-- IBnnn: the number says what it is (SIS, K). S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "godaddy") {
  mx = { "*.secureserver.net" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "IB007", lasts = "1h", max_smtp_out = 1 },                                        -- K: too many sessions
    { "IB101", name = "busy", skip_mx = true },
    { "IB(504|607)", name = "hourly limit", lasts = "1h", suspend = true },
    { "IB605", name = "recipients", lasts = "1h", max_rcpt_per_message = 10 },
    { "IB110", name = "blocked for an hour", lasts = "1h", suspend = true, notify = true },
    { "IB111", name = "blocked for a day", lasts = "1d", suspend = true, notify = true },
    { "IB108", name = "reverse DNS", lasts = "1h", suspend = true, notify = true },
    { "IB(212|705)", name = "content", after = "5/1h", lasts = "1h", suspend = true, notify = true },   -- 705: a virus
    inherit = true,
  },
}
