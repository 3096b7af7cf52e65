-- apple: iCloud, me.com and mac.com.
--
-- Sources: K (what KumoMTA ships), SIS, SFM, SU (collections of replies). Nobody
-- publishes tiers: high is K's limit, medium half of it, warming as S002's first week.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "apple") {
  domains = { "icloud.com", "me.com", "mac.com" },
  mx      = { "*.icloud.com" },

  high    = { max_smtp_out = 10 },                      -- K
  medium  = { max_smtp_out = 5, retry_after = "20m" },
  warming = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 5,                           -- K: it closes longer sessions

  backoff = {
    { "421 4\\.7\\.1 .*excessive volume", name = "excessive volume", lasts = "30m", max_smtp_out = "50%" },             -- SIS, SFM: later, and slower
    { "451 4\\.7\\.1 .*service unavailable", name = "service unavailable", after = "5/1h", lasts = "15m", suspend = true },    -- K: the rush of the full hour
    { "451 .*\\[BS02\\]", name = "BS02", after = "5/1h", lasts = "15m", suspend = true },                               -- K
    { "421 .*\\[HCM1\\]", name = "HCM1", after = "3/1h", lasts = "15m", suspend = true },                               -- K, where it can't match
    { "421 4\\.7\\.0 .*too many errors", name = "too many errors", lasts = "1h", max_errors_per_connection = 1 },       -- SFM: unknown mailboxes in one session
    -- Content or reputation, the scope unknown: going on without looking makes it worse (SIS, SU).
    { "55[04] 5\\.7\\.1 .*\\[(CS0[12]|HM0[78])\\]", name = "local policy", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    { "554 5\\.7\\.1 .*(\\[HME1\\]|DMARC)", name = "authentication", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    { "550 5\\.7\\.1 .*spamhaus", name = "listed", after = "3/1h", lasts = "4h", suspend = true, notify = true },       -- K
    { "554 .*not accepting connections", name = "no connections", lasts = "30m", max_smtp_out = 1, max_connect_rate = "1/m" },    -- SIS
    inherit = true,
  },
}
