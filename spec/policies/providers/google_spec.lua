-- google: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local google = {
  site = "google", domain = "gmail.com", host = "gmail-smtp-in.l.google.com",
  rules = {
    { "unusual rate", "421 4.7.28 [192.0.2.1 15] Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited. ab1-20020a05 - gsmtp", at = "." },
    { "unusual rate", "421 4.7.0 [192.0.2.1 15] Our system has detected an unusual rate of unsolicited mail originating from your DKIM domain. ab1-20020a05 - gsmtp", at = "." },
    { "low reputation", "421 4.7.0 [192.0.2.1 19] Our system has detected that this message is suspicious due to the very low reputation of the sending IP address. ab1-20020a05 - gsmtp", at = "." },
    { "try again later", "421 4.7.0 Try again later, closing connection. (EHLO) ab1-20020a05 - gsmtp", at = "EHLO" },
    { "unsolicited", "550 5.7.1 [192.0.2.1 12] Our system has detected that this message is likely unsolicited mail. ab1-20020a05 - gsmtp", at = "." },
    { "unsolicited", "550 5.7.28 [192.0.2.1 18] Our system has detected an unusual rate of unsolicited mail originating from your IP address. ab1-20020a05 - gsmtp", at = "." },
    { "authentication", "421 4.7.26 This mail has been rate limited because it is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM. ab1-20020a05 - gsmtp", at = "." },
    { "authentication", "550 5.7.26 This mail is unauthenticated, which poses a security risk to the sender and Gmail users, and has been blocked. ab1-20020a05 - gsmtp", at = "." },
    { "authentication", "421 4.7.32 Your email has been rate limited because the From: header (RFC5322) in this message is not aligned with either the authenticated SPF or DKIM organizational domain. - gsmtp", at = "." },
    { "TLS required", "421 4.7.29 Your email has been rate limited because this message was not sent over a TLS connection. - gsmtp", at = "MAIL" },
    { "mailbox too busy", "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered. - gsmtp", waits = "1h" },
    { "mailbox full", "452 4.2.2 The email account that you tried to reach is over quota. - gsmtp", waits = "6h" },
    { "host busy", "421 4.4.5 Server busy, try again later. ab1-20020a05 - gsmtp", at = "MAIL", skips = true },
    { "host busy", "421 4.3.0 Temporary System Problem. Try again later. ab1-20020a05 - gsmtp", at = ".", skips = true },
    { "several domains", "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again. ab1-20020a05 - gsmtp" },
  },
}

describe("google", function()
  replies.limits(google, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 50, retry_after = 1800, require_starttls = true })
  replies.of(google)
end)
