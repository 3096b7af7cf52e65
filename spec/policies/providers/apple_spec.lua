-- apple: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local apple = {
  site = "apple", domain = "icloud.com", host = "mx01.mail.icloud.com",
  rules = {
    { "excessive volume", "421 4.7.1 Message deferred due to excessive volume. Please try again later - see https://support.apple.com/en-us/HT204137", at = "MAIL" },
    { "service unavailable", "451 4.7.1 Service unavailable - try again later", at = "RCPT" },
    { "BS02", "451 4.7.1 [BS02] Temporary server error. Please try again later", at = "." },
    { "HCM1", "421 4.7.1 [HCM1] Your mail from IP 192.0.2.1 was deferred. See https://support.apple.com/en-us/HT204137", at = "MAIL" },
    { "too many errors", "421 4.7.0 mx01.mail.icloud.com Error: too many errors", at = "RCPT" },
    { "local policy", "550 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137", at = "." },
    { "local policy", "554 5.7.1 [HM08] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137", at = "." },
    { "authentication", "554 5.7.1 [HME1] This message was blocked for failing both SPF and DKIM authentication checks.", at = "." },
    { "listed", "550 5.7.1 Your email was rejected due to having a domain present in the Spamhaus DBL -- see http://www.spamhaus.org/dbl/", at = "." },
    { "no connections", "554 mx01.mail.icloud.com not accepting connections", at = "EHLO" },
  },
}

describe("apple", function()
  replies.limits(apple, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 5 })
  replies.of(apple)
end)
