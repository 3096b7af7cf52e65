-- a
node { hostname = "mta.example.com", spool = "spool",
  accounting = { file = "acc.csv",
    records = { "d", "x" } } }
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" },
  max_message_size = "25M" }
local base = { max_smtp_out = 4,
   retry_after = "10m,20m" }
vmta "mta-1" { source = "203.0.113.10",
   max_smtp_out = 200,
   provider = {
     google = { max_smtp_uot = 4 },
     goggle = base } }
provider "google"
{
  domains = { "gmail.com", "googlemail.com" },
  mx = { "*.google.com" },
  ["max-smtp-out"] = 3,
  max_msg_rate = 0,
  retry_after = "10 m",
}
pool "warm" { "mta-2", { "mta-1", weight = 2 } }
domain "x.com" (base)
base.max_smtp_out = 0
domain "y.com" (base)
domain "gmail.com" { max_smtp_out = 1, bounce_after = "1d" }
on.mesage(function() end)
on.reply(function() end)
provider "pend"
providr "x" {}
