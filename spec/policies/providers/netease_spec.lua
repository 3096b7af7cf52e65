-- netease: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local netease = {
  site = "netease", domain = "163.com", host = "163mx01.mxmail.netease.com",
  rules = {
    { "too many connections", "421 Too many connections from 192.0.2.1", at = "MAIL" },
    { "spam, for now", "451 DT:SPM 163 mx13,QMCowABn. Please try again later, see http://mail.163.com/help/help_spam_16.htm", at = "." },
    { "spam", "554 DT:SPM 163 mx13,QMCowABn. http://mail.163.com/help/help_spam_16.htm", at = "." },
    { "daily limit", "554 HL:ITC 163 mx13,QMCowABn. http://mail.163.com/help/help_spam_16.htm", at = "MAIL" },
    { "daily limit", "550 RP:ORQ 163 mx13,QMCowABn. http://mail.163.com/help/help_spam_16.htm", at = "MAIL" },
  },
}

describe("netease", function()
  replies.limits(netease, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 7 })
  replies.of(netease)
end)
