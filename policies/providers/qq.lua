-- qq: Tencent's qq.com and foxmail.com.
--
-- It says 550 where it means "not so fast": such mail is kept, for skip_mx makes a
-- 5xx of one host a reason to wait. Sources: SIS, K (what KumoMTA ships).
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "qq") {
  domains = { "qq.com", "foxmail.com" },
  mx      = { "*.qq.com" },

  high    = { max_smtp_out = 4 },                       -- K
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 8,                           -- K
  require_starttls       = true,                        -- K

  backoff = {
    { "550 .*frequency limited", name = "kept", skip_mx = true },
    { "550 .*(ip|domain|sender|connection) frequency limited", name = "frequency", after = "5/1h", lasts = "1h", suspend = true },      -- K
    { "550 .*mail content denied", name = "content", after = "5/1h", lasts = "1h", suspend = true, notify = true },                    -- K
    inherit = true,
  },
}
