-- rackspace: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local rackspace = {
  site = "rackspace", domain = "company.example", host = "mx1.emailsrvr.com",
  rules = {
    { "too many connections", "421 Too many concurrent connections from this client. (G2)", at = "MAIL" },
    { "new address", "451 4.7.1 Too many messages from a new or untrusted IP: 192.0.2.1. (G28)", at = "RCPT" },
    { "mailbox too busy", "450 4.2.1 This mailbox received too much mail recently. (G30)", waits = "1h" },
    { "reverse DNS", "450 Client host rejected: cannot find your reverse hostname, [192.0.2.1] (G1F)", at = "RCPT" },
  },
}

describe("rackspace", function()
  replies.limits(rackspace, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(rackspace)
end)
