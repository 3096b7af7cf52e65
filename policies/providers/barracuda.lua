-- barracuda: a filter in front of companies' own mail.
--
-- Sources: K (what KumoMTA ships, where the dot at the end of its host pattern keeps it from matching), SFM.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "barracuda") {
  mx = { "*.barracudanetworks.com" },

  high    = { max_smtp_out = 10 },                      -- K
  medium  = { max_smtp_out = 5, retry_after = "20m" },
  warming = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 15,                          -- K
  require_starttls       = true,                        -- K

  backoff = {
    { "550 .*(permanently )?blocked", name = "blocked", after = "5/1h", lasts = "2h", suspend = true, notify = true },  -- SFM: its reputation list
    { "550 .*rejecting spoofed message", name = "spoofed", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    inherit = true,
  },
}
