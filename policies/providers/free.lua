-- free: Free (France).
--
-- Sources: SFM for the replies, S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "free") {
  domains = { "free.fr" },
  mx      = { "*.free.fr" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "421 .*too many", name = "too many", lasts = "1h", max_smtp_out = 1, max_msg_rate = "60/h" },             -- SFM: slower
    { "550 .*(spam|virus) detected", name = "content", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    inherit = true,
  },
}
