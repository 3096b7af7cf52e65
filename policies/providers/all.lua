-- all: every provider that is here. One that knows us better or worse may have a tier of its own:
-- require "providers.all" { tier = "medium", google = "high" }
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

local names = {
  "apple", "barracuda", "comcast", "cox", "free", "gmx", "godaddy", "google", "kpn", "laposte", "mail_com", "mail_ru", "mailgun",
  "microsoft", "mimecast", "netease", "netvigator", "orange", "proofpoint", "qq", "rackspace", "sfr", "spectrum", "t_online",
  "yahoo", "yahoo_japan", "yandex",
}

return function(options)
  tiers.check("providers.all", options, { "tier", unpack(names) })
  options = options or {}
  for _, name in ipairs(names) do
    require("providers." .. name) { tier = options[name] or options.tier }
  end
end
