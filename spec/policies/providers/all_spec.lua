-- all: addresses of high reputation have each provider's sessions, and never more.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

-- site, a domain, a host of its MX, sessions
local PROVIDERS = {
  { "apple", "icloud.com", "mx01.mail.icloud.com", 10 },
  { "barracuda", "company.example", "d1.a.ess.barracudanetworks.com", 10 },
  { "comcast", "comcast.net", "mx1.comcast.net", 25 },
  { "cox", "cox.net", "mx.cox.net", 10 },
  { "free", "free.fr", "mx1.free.fr", 4 },
  { "gmx", "web.de", "mx-ha02.web.de", 4 },
  { "godaddy", "company.example", "smtp.secureserver.net", 4 },
  { "google", "company.example", "aspmx.l.google.com", 8 },
  { "kpn", "company.example", "mx.kpnmail.nl", 10 },
  { "laposte", "laposte.net", "smtpz4.laposte.net", 2 },
  { "mail_com", "mail.com", "mx00.mail.com", 4 },
  { "mail_ru", "mail.ru", "mxs.mail.ru", 2 },
  { "microsoft", "hotmail.fr", "eur.olc.protection.outlook.com", 5 },
  { "microsoft365", "company.example", "company-example.mail.protection.outlook.com", 5 },
  { "mimecast", "company.example", "eu-smtp-inbound-1.mimecast.com", 10 },
  { "netease", "126.com", "126mx01.mxmail.netease.com", 4 },
  { "netvigator", "netvigator.com", "mx1.netvigator.com", 5 },
  { "orange", "wanadoo.fr", "smtp-in.orange.fr", 2 },
  { "proofpoint", "company.example", "mxa-1.gslb.pphosted.com", 4 },
  { "qq", "foxmail.com", "mx1.qq.com", 4 },
  { "rackspace", "company.example", "mx1.emailsrvr.com", 4 },
  { "sfr", "neuf.fr", "smtp-in.sfr.fr", 4 },
  { "spectrum", "rr.com", "mx0.charter.net", 4 },
  { "t_online", "t-online.de", "mx00.t-online.de", 4 },
  { "yahoo", "aol.com", "mx-aol.mail.gm0.yahoodns.net", 6 },
  { "yahoo_japan", "yahoo.co.jp", "mx1.mail.yahoo.co.jp", 2 },
  { "yandex", "ya.ru", "mx.yandex.ru", 4 },
}

describe("all providers", function()
  for _, row in ipairs(PROVIDERS) do
    local site, domain, host, sessions = unpack(row)
    it("give " .. site .. " " .. sessions .. " sessions", function()
      local world = sim.world { policy = "policies/examples/two_streams.lua", seed = 1 }
      world:dns { [domain] = { mx = { { host, 10 } } } }
      local receiver = world:receiver(host) { latency = "8s", starttls = true }
      world:inject { to = "user@" .. domain, count = 600, headers = { ["X-Stream"] = "transactional" } }
      world:run_for "4m"
      assert.equal(sessions, receiver:peak_connections())
      assert.equal(sessions, world:effective(site .. "/tx-1").max_smtp_out)
    end)
  end
end)
