-- gmx: GMX and Web.de (1&1).
--
-- Sources: S002 (the seeds: strict, as German providers are), K (what KumoMTA ships), PM (the postmaster's pages).
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "gmx") {
  domains = { "gmx.net", "gmx.de", "gmx.at", "gmx.ch", "web.de" },
  mx      = { "*.gmx.net", "*.web.de" },

  high    = { max_smtp_out = 4 },                       -- S002: 2-4; K has 4
  medium  = { max_smtp_out = 2, retry_after = "20m" },  -- S002: 1-2
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },   -- S002: 1
  max_connect_rate          = "1/s",                    -- S002
  max_msg_per_connection    = 20,                       -- K
  max_errors_per_connection = 5,                        -- K
  require_starttls          = true,                     -- K

  backoff = {
    { "421 .*rate limit reached", name = "rate limit", lasts = "1h", max_smtp_out = 1, max_msg_rate = "60/h" },                         -- PM: slower
    { "4(21|50) .*too many connections", name = "too many connections", after = "3/1h", lasts = "30m", max_smtp_out = 1 },              -- K
    { "450 .*reject due to policy restrictions", name = "policy, for now", after = "5/1h", lasts = "1h", max_msg_rate = "1/m" },        -- K
    { "554 .*reject due to policy restrictions", name = "policy", after = "5/1h", lasts = "2h", suspend = true, notify = true },        -- K
    { "reject due to policy violations", name = "policy violations", after = "5/1h", lasts = "1h", suspend = true, notify = true },     -- K
    { "554 .*nemesis.*block ?listed", name = "block listed", lasts = "2h", suspend = true, notify = true },     -- PM: by a form only
    inherit = true,
  },
}
