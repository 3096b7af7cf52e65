-- proofpoint: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local proofpoint = {
  site = "proofpoint", domain = "company.example", host = "mxa-0012.gslb.pphosted.com",
  rules = {
    { "blocked", "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using prs.proofpoint.com", at = "MAIL" },
    { "blocked", "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using Cloudmark Sender Intelligence", at = "MAIL" },
    { "slow down", "421 4.7.0 Too many messages from your IP, please slow down", at = "MAIL" },
  },
}

describe("proofpoint", function()
  replies.limits(proofpoint, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(proofpoint)
end)
