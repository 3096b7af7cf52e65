-- kpn: KPN (Netherlands) and the names that it took over.
--
-- Sources: K (what KumoMTA ships, where the dot at the end of its host pattern keeps it from matching). No reply
-- of its own is known: what it has to say is covered by the rules for everybody.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "kpn") {
  mx = { "*.kpnmail.nl" },

  high    = { max_smtp_out = 10 },                      -- K
  medium  = { max_smtp_out = 5, retry_after = "20m" },  -- half of it
  warming = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },   -- S002: the first week
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 10,                          -- K
  require_starttls       = true,                        -- K
}
