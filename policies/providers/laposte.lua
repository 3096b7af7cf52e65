-- laposte: laposte.net, with Orange's way of numbering its replies (LPNnnn_mmm).
--
-- Sources: SIS and K (what KumoMTA ships) for the replies, S002's row for Orange for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "laposte") {
  domains = { "laposte.net" },
  mx      = { "*.laposte.net" },

  high    = { max_smtp_out = 2 },
  medium  = { max_smtp_out = 1, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "10/m",                      -- as Orange's: no more than two sessions need
  max_msg_per_connection = 100,                         -- the same (K)

  backoff = {
    { "LPN\\d*_104|too many connections", name = "too many connections", after = "2/1h", lasts = "1h", max_smtp_out = 1, max_connect_rate = "1/m" },
    { "4\\d\\d .*(LPN\\d*_505|service refuse)", name = "service refused", after = "2/1h", lasts = "1h", suspend = true },
    { "550 .*LPN\\d*_10[12]", name = "blocked", after = "5/1h", lasts = "2h", suspend = true, notify = true },  -- Spamhaus 101, SenderScore 102
    { "550 .*LPN\\d*_5(06|10)", name = "spam", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    { "LPN\\d*_(403|405|415|517)", name = "sender", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    inherit = true,
  },
}
