-- mail_ru: Mail.ru and its names.
--
-- Sources: SFM for the replies; operators' pace of 2 connections, 10 messages each, 16 a minute; and a shared
-- PowerMTA configuration that tries again after 1, 3, 6 and 12 hours with 20 messages an hour.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "mail_ru") {
  domains = { "mail.ru", "inbox.ru", "list.ru", "bk.ru" },
  mx      = { "*.mail.ru" },

  high    = { max_smtp_out = 2, max_msg_rate = "16/m" },
  medium  = { max_smtp_out = 1, max_msg_rate = "8/m", retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "20/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 10,

  backoff = {
    { "550 .*spam message rejected", name = "spam", lasts = "1h", max_msg_rate = "20/h", retry_after = "1h,3h,6h,12h", notify = true },
    inherit = true,
  },
}
