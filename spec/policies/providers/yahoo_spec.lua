-- yahoo: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local yahoo = {
  site = "yahoo", domain = "yahoo.com", host = "mta5.am0.yahoodns.net",
  rules = {
    { "TSS04", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes", at = "MAIL" },
    { "TSS04", "421 4.7.0 [TS04] Messages from 192.0.2.1 temporarily deferred due to user complaints - 4.16.55.1", at = "MAIL" },
    { "TSS04", "421 4.7.0 [IPTS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints", at = "MAIL" },
    { "TSS05", "421 4.7.0 [TSS05] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1", at = "MAIL" },
    { "TS01", "421 4.7.0 [TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints - 4.16.55.1", at = "MAIL" },
    { "TS02", "421 4.7.1 [TS02] Messages from 192.0.2.1 temporarily deferred - 4.16.56.1; see https://postmaster.yahooinc.com/error-codes", at = "MAIL" },
    { "TS03", "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes", at = "MAIL" },
    { "permanently deferred", "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes", at = "MAIL" },
    { "listed", "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list; see https://postmaster.yahooinc.com/error-codes", at = "MAIL" },
    { "messages per connection", "421 Max message per connection reached, closing transmission channel", at = "MAIL" },
    { "overload", "451 4.3.2 Resources temporarily not available - Please try again later [#4.16.5]", at = "MAIL" },
    { "unknown recipients", "451 VS1-IP Excessive unknown recipients - possible Open Relay", at = "RCPT" },
    { "sender without DNS", "451 Message temporarily deferred due to unresolvable RFC.5321 from domain. See https://postmaster.yahooinc.com/error-codes", at = "MAIL" },
    { "authentication", "550 5.7.9 This mail has been blocked because the sender is unauthenticated. Yahoo requires all senders to authenticate with either SPF or DKIM.", at = "." },
    { "authentication", "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", at = "." },
    { "mailbox too busy", "450 User receiving mail too quickly", waits = "1h" },
  },
}

describe("yahoo", function()
  replies.limits(yahoo, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 20 })
  replies.of(yahoo)
end)
