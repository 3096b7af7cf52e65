-- proofpoint: a filter in front of companies' own mail, and Cloudmark's sender list, which others use too.
--
-- Sources: SFM for the replies, S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "proofpoint") {
  mx = { "*.pphosted.com", "*.ppe-hosted.com" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "550 5\\.7\\.1 .*(prs\\.proofpoint\\.com|cloudmark sender intelligence)", name = "blocked", after = "5/1h", lasts = "2h", suspend = true, notify = true },
    { "421 .*slow", name = "slow down", lasts = "30m", max_smtp_out = 1, max_msg_rate = "60/h" },
    inherit = true,
  },
}
