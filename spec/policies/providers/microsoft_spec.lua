-- microsoft: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local rules = {
  { "421 RP-001", "421 RP-001 (BAY004-MC1F1) Unfortunately, some messages from 192.0.2.1 weren't sent. The mail server IP connecting to Outlook.com server has exceeded the rate limit allowed.", at = "MAIL" },
  { "421 RP-002", "421 RP-002 (BAY004-MC1F1) The mail server IP connecting to Outlook.com server has exceeded the rate limit allowed on this connection.", at = "MAIL" },
  { "421 RP-003", "421 RP-003 (BAY004-MC1F1) The mail server IP connecting to Outlook.com server has exceeded the connection limit allowed.", at = "MAIL" },
  { "421 PR\\(ct1\\)", "421 PR(ct1) Unfortunately, messages from 192.0.2.1 were not sent. Connection limit reached.", at = "MAIL" },
  { "421 4.3.2", "421 4.3.2 The maximum number of concurrent server connections per resource forest has exceeded a limit, closing transmission channel [AM1EUR02FT012.eop-EUR02.prod.protection.outlook.com]", at = "EHLO" },
  { "connections", "421 4.4.2 The sending host has exceeded the maximum number of connections for this server", at = "MAIL" },
  { "messages per connection", "421 4.4.2 The sending host has exceeded maximum number of messages per connection", at = "MAIL" },
  { "rate limited", "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775) [DB5EUR01FT042.eop-EUR01.prod.protection.outlook.com]" },
  { "rate limited again", "451 4.7.651 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://aka.ms/postmaster (S3114)" },
  { "access denied", "451 4.7.500 Access denied, please try again later. For more information please go to http://go.microsoft.com/fwlink/?LinkId=526653 (AS77713)" },
  { "server busy", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)" },
  { "server still busy", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)" },
  { "temporary server error", "451 4.3.2 Temporary server error. Please try again later ATTR5 [BN8NAM11FT012.eop-nam11.prod.protection.outlook.com]" },
  { "suspicious activity", "451 4.7.860 Access denied, suspicious activity from your organization. Please try again later." },
  { "agent busy", "451 4.7.700 PFA agent busy, please try again [DB5EUR01FT042.eop-EUR01.prod.protection.outlook.com]", skips = true },
  { "block list", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).", at = "MAIL" },
  { "block list", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent (S3150).", at = "MAIL" },
  { "policy block", "550 SC-001 (BAY004-MC1F1) Unfortunately, messages from 192.0.2.1 weren't sent.", at = "MAIL" },
  { "policy block", "550 DY-001 (BAY004-MC1F1) Unfortunately, messages from 192.0.2.1 weren't sent: dynamic IP range.", at = "MAIL" },
  { "policy block", "550 OU-002 (BAY004-MC1F1) Unfortunately, messages from 192.0.2.1 weren't sent.", at = "MAIL" },
  { "banned address", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit https://sender.office.com/", at = "RCPT" },
  { "banned sender", "550 5.7.501 Access denied, spam abuse detected. The sending account has been banned.", at = "." },
  { "banned sender", "550 5.7.511 Access denied, banned sender[192.0.2.1]. To request removal from this list please forward this message to delist@microsoft.com." },
  { "range over its limit", "550 5.7.508 Access denied, [2001:db8::1] has exceeded permitted limits within 2001:db8::/64 range" },
  { "authentication", "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification and has a DMARC policy of reject.", at = "." },
  { "authentication", "550 5.7.515 Access denied, sending domain example.com does not meet the required authentication level.", at = "." },
  { "authentication", "451 4.7.26 Access denied, a message sent over IPv6 [2001:db8::1] must pass either SPF or DKIM validation, this message is not signed.", at = "." },
  { "mailbox too busy", "554 5.2.121 The recipient's per hour message receive limit has been exceeded.", waits = "1h" },
}

local consumer = { site = "microsoft", domain = "hotmail.com", host = "hotmail-com.olc.protection.outlook.com", rules = rules }
local companies = { site = "microsoft365", file = "microsoft", domain = "company.example", host = "company-example.mail.protection.outlook.com", rules = rules }

describe("microsoft", function()
  replies.limits(consumer, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 5 })
  replies.of(consumer)
end)

describe("microsoft365", function()
  replies.limits(companies, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 50 })
  replies.of(companies)
end)
