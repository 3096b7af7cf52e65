-- comcast: Comcast and Xfinity, as long as their mail goes to their own hosts.
--
-- No domains by name: since 2025 mailboxes move to Yahoo, and whoever has moved is
-- to be treated as Yahoo is. Sources: the postmaster's pages, K (what KumoMTA ships), SFM.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "comcast") {
  mx = { "[*.]comcast.net" },

  high    = { max_smtp_out = 25 },                      -- the postmaster: 25 for one address; K has it too
  medium  = { max_smtp_out = 10, retry_after = "20m" }, -- its older text: 10
  warming = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },   -- S002: the first week
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 1000,                        -- K
  max_errors_per_connection = 24,                       -- K
  idle_timeout           = "30s",                       -- K
  require_starttls       = true,                        -- K

  backoff = {
    -- Volume against reputation. 1 to 3 pass within minutes to hours; K limits connections for two hours at the second.
    { "RL00000[123]", name = "volume", after = "2/1h", lasts = "2h", max_smtp_out = "50%", max_connect_rate = "10/m" },
    { "RL000010", lasts = "5m", suspend = true },                                                       -- K: the sender's domain is throttled
    { "421 .*too many sessions", name = "sessions", lasts = "1h", max_smtp_out = "50%" },
    { "421 .*reverse DNS", name = "reverse DNS", lasts = "1h", suspend = true, notify = true },         -- the postmaster: to be mended, then tried again
    { "452 4\\.1\\.1 .*too many recent messages", name = "mailbox too busy", retry_recipients_after = "1h", scope = "recipient" },       -- SFM
    -- Block lists (BL, its digits say whose) and dynamic addresses (ES): stop, and ask for removal.
    { "(BL|ES)000\\d\\d\\d", name = "blocked", after = "5/1h", lasts = "2h", suspend = true, notify = true },
    { "DM000001", name = "DMARC", after = "5/1h", lasts = "1h", suspend = true, notify = true },        -- SFM
    inherit = true,
  },
}
