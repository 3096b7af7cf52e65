-- netvigator: Netvigator (Hong Kong).
--
-- Sources: K (what KumoMTA ships, where the dot at the end of its host pattern keeps it from matching).
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "netvigator") {
  domains = { "netvigator.com" },
  mx      = { "*.netvigator.com" },

  high    = { max_smtp_out = 5 },                       -- K
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 10,                          -- K
  require_starttls       = true,                        -- K

  backoff = {
    { "too many messages for this session", name = "messages per connection", lasts = "1h", max_msg_per_connection = "50%" },
    { "too many messages for this session", name = "messages", after = "3/1h", lasts = "30m", suspend = true },         -- K
    inherit = true,
  },
}
