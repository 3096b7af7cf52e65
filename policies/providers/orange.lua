-- orange: Orange and Wanadoo.
--
-- Its replies carry OFRnnn_mmm, the last three saying what it is. Sources: S002 (the
-- seeds: little patience with unknown senders), K (what KumoMTA ships), SIS.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "orange") {
  domains = { "orange.fr", "wanadoo.fr" },
  mx      = { "*.orange.fr" },

  high    = { max_smtp_out = 2 },                       -- S002: 2-3; K has 2
  medium  = { max_smtp_out = 1, retry_after = "20m" },  -- S002: 1-2
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },   -- S002: 1
  max_connect_rate       = "10/m",                      -- two sessions at most: no need for more
  max_msg_per_connection = 100,                         -- K
  require_starttls       = true,                        -- K

  backoff = {
    { "OFR\\d*_104|trop de connexions", name = "too many connections", after = "2/1h", lasts = "1h", max_smtp_out = 1, max_connect_rate = "1/m" },     -- K
    { "4\\d\\d .*(OFR\\d*_505|service refuse)", name = "service refused", after = "2/1h", lasts = "1h", suspend = true },                          -- K
    { "4\\d\\d .*OFR\\d*_(105|109|201)", name = "try later", lasts = "30m", max_msg_rate = "60/h" },                                               -- SIS: later
    { "550 .*(OFR\\d*_10[23]|cloudmark|spamhaus)", name = "blocked", after = "5/1h", lasts = "2h", suspend = true, notify = true },                -- K
    { "550 .*OFR\\d*_506", name = "spam", after = "5/1h", lasts = "1h", suspend = true, notify = true },                                            -- SIS
    -- The sender's own domain: its DNS (403, 405, 415) or its DMARC (517).
    { "OFR\\d*_(403|405|415|517)", name = "sender", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    inherit = true,
  },
}
