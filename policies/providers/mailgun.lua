-- mailgun: smtp.mailgun.com, a service that takes mail for others and can bear it.
--
-- Sources: K (what KumoMTA ships: 7000 connections of 3 messages each). A customer of it has no reputation
-- to warm up there, so the tiers differ in how much of that they take.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "mailgun") {
  domains = { "smtp.mailgun.com" },

  high    = { max_smtp_out = 7000 },                    -- K
  medium  = { max_smtp_out = 700 },
  warming = { max_smtp_out = 70 },
  max_msg_per_connection = 3,                           -- K
}
