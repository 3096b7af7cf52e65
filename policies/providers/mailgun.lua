-- mailgun: smtp.mailgun.com, a service that takes mail for others and can bear it.
--
-- Sources: K (what KumoMTA ships: 7000 connections of 3 messages each). A node opens 5000 to the whole world
-- unless told otherwise, so a fifth of that is the most here; the tiers differ in how much of it they take.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "mailgun") {
  domains = { "smtp.mailgun.com" },

  high    = { max_smtp_out = 1000 },
  medium  = { max_smtp_out = 200 },
  warming = { max_smtp_out = 50 },
  max_msg_per_connection = 3,                           -- K
}
