-- mimecast: a filter in front of companies' own mail.
--
-- Sources: K (what KumoMTA ships: ten connections to a region, 100 messages each), SIS.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "mimecast") {
  mx = { "*.mimecast.com", "*.mimecast.co.za", "*.mimecast-offshore.com" },

  high    = { max_smtp_out = 10 },                      -- K
  medium  = { max_smtp_out = 5, retry_after = "20m" },
  warming = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 100,                         -- K

  backoff = {
    { "451 .*internal resources? (are )?temporarily unavailable", name = "resources", after = "3/1h", lasts = "30m", suspend = true },          -- K
    { "451 .*(IP|address) .*temporarily blacklisted", name = "reputation, for now", lasts = "1h", max_smtp_out = 1, max_msg_rate = "60/h" },   -- SIS: wait
    { "451 .*recipient temporarily unavailable", name = "greylisted", retry_recipients_after = "15m", scope = "recipient" },                    -- SIS: 1 minute to 12 hours
    { "550 .*local CT IP reputation", name = "reputation", after = "5/1h", lasts = "2h", suspend = true, notify = true },
    inherit = true,
  },
}
