-- spectrum: Charter, Spectrum, Time Warner's and Road Runner's mail.
--
-- AUP#In-nnnn: the number says what it is (SIS). S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "spectrum") {
  domains = { "charter.net", "spectrum.net", "twc.com", "rr.com" },
  mx      = { "*.charter.net" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "AUP#\\S*13[0-4]\\d", name = "connections", lasts = "1h", max_smtp_out = 1 },                                     -- 1300-1340
    { "AUP#\\S*(13[5-9]\\d|14\\d\\d|1540|1580)", name = "rate", lasts = "1h", max_smtp_out = 1, max_msg_rate = "100/h" },       -- 1350-1490, 1540, 1580
    { "AUP#\\S*1550", name = "recipients", lasts = "1h", max_rcpt_per_message = 10 },
    { "AUP#\\S*12[0-5]\\d", name = "listed", after = "5/1h", lasts = "2h", suspend = true, notify = true },             -- Cloudmark 1200-1210, Spamhaus 1220-1250
    { "AUP#\\S*11[0-5]\\d", name = "reverse DNS", after = "5/1h", lasts = "1h", suspend = true, notify = true },        -- 1100-1150
    inherit = true,
  },
}
