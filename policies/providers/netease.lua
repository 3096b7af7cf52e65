-- netease: 163.com, 126.com and yeah.net.
--
-- Sources: K (what KumoMTA ships).
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "netease") {
  domains = { "163.com", "126.com", "yeah.net" },
  mx      = { "*.netease.com" },

  high    = { max_smtp_out = 4 },                       -- K
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 7,                           -- K

  backoff = {
    { "421 .*too many connections", name = "too many connections", after = "2/1h", lasts = "1h", max_smtp_out = 1 },    -- K
    { "451 .*DT:SPM", name = "spam, for now", after = "5/1h", lasts = "15m", suspend = true },                          -- K
    { "554 .*DT:SPM", name = "spam", after = "2/1h", lasts = "1h", max_smtp_out = 1, notify = true },                   -- K
    { "550 .*RP:ORQ|554 .*HL:ITC", name = "daily limit", after = "2/1h", lasts = "1h", suspend = true },                -- K
    inherit = true,
  },
}
