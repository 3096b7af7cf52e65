-- known: providers that a configuration names by one of their domains.
-- SPDX-License-Identifier: Apache-2.0
return {
  { name = "microsoft", domains = { "hotmail.com", "outlook.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr", "hotmail.de",
                                    "hotmail.it", "hotmail.es", "live.co.uk", "live.fr", "live.nl", "outlook.fr", "outlook.de",
                                    "outlook.es", "windowslive.com", "passport.com" },
    mx = { "*.olc.protection.outlook.com" } },
  { name = "google", domains = { "gmail.com", "googlemail.com" }, mx = { "*.google.com", "*.googlemail.com" } },
  { name = "yahoo", domains = { "yahoo.com", "aol.com", "ymail.com", "rocketmail.com" }, mx = { "*.yahoodns.net" } },
  { name = "apple", domains = { "icloud.com", "me.com", "mac.com" }, mx = { "*.mail.icloud.com" } },
  { name = "comcast", domains = { "comcast.net" }, mx = { "*.comcast.net" } },
  { name = "gmx", domains = { "gmx.de", "gmx.net", "gmx.at", "gmx.ch" }, mx = { "*.gmx.net" } },
  { name = "webde", domains = { "web.de" }, mx = { "*.web.de" } },
  { name = "orange", domains = { "orange.fr", "wanadoo.fr" }, mx = { "*.orange.fr" } },
}
