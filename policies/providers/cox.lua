-- cox: Cox, as long as its mail goes to its own hosts.
--
-- Sources: SIS; ten connections are the number it names. Tiers: that, half of it, S002's first week.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "cox") {
  mx = { "[*.]cox.net" },

  high    = { max_smtp_out = 10 },
  medium  = { max_smtp_out = 5, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "AUP#CXCNCT", lasts = "1h", max_smtp_out = "50%" },                               -- more than ten at once
    { "AUP#CXMXRT", lasts = "1h", max_smtp_out = 1, max_msg_rate = "100/h" },           -- volume
    { "AUP#(CXBL|CDRBL|IPBL\\d+|URLBL\\d+)", name = "blocked", after = "5/1h", lasts = "2h", suspend = true, notify = true },
    { "AUP#(CXDNS|CXSNDR)", name = "authentication", after = "5/1h", lasts = "1h", suspend = true, notify = true },     -- reverse DNS, authentication
    inherit = true,
  },
}
