-- orange: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local orange = {
  site = "orange", domain = "orange.fr", host = "smtp-in.orange.fr",
  rules = {
    { "too many connections", "421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. Too many connections, slow down. OFR004_104 [104]", at = "MAIL" },
    { "service refused", "421 mwinf5c04 ME Service refuse. Veuillez essayer plus tard. Service refused, please try later. OFR_505 [505]", at = "MAIL" },
    { "try later", "450 4.7.1 Veuillez essayer plus tard. Please try later. OFR004_109 [109]", at = "RCPT" },
    { "blocked", "550 5.7.1 Service unavailable; client [192.0.2.1] blocked by Cloudmark. OFR006_102 [102]", at = "MAIL" },
    { "spam", "550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]", at = "." },
    { "sender", "550 5.1.0 <bounce@example.com> Adresse expediteur invalide. Sender address invalid. OFR_403 [403]", at = "MAIL" },
    { "sender", "550 5.7.1 Mail rejected, DMARC failed. OFR_517 [517]", at = "." },
  },
}

describe("orange", function()
  replies.limits(orange, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 100, require_starttls = true })
  replies.of(orange)
end)
