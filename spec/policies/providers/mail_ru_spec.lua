-- mail_ru: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local mail_ru = {
  site = "mail_ru", domain = "mail.ru", host = "mxs.mail.ru",
  rules = {
    { "spam", "550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=abc or report details to abuse@corp.mail.ru.", at = "." },
  },
}

describe("mail_ru", function()
  replies.limits(mail_ru, { max_smtp_out = 1, max_msg_rate = "20/h", max_msg_per_connection = 10 })
  replies.of(mail_ru)
end)
