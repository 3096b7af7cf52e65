-- rules: a policy for specs of reactions and retries.
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "203.0.113.10" }
vmta "mta-2" { source = "203.0.113.11" }
vmta "clean" { source = { "203.0.113.20", "203.0.113.21" } }
pool "default" { "mta-1" }
pool "clean-pool" { "clean" }
pool "both" { "mta-1", { "mta-2", weight = 3 } }

provider "rp" {
  domains = { "rp.example" },
  max_smtp_out = 20,
  max_msg_rate = "unlimited",
  retry_after = { "5m", "10m", "20m" },
  retry_recipients_after = "10m",
  retry_jitter = "0%",
  backoff = {
    { "421 RP-001", lasts = "1h", max_smtp_out = 5, max_msg_rate = "1000/h" },
    { "TSS04", after = "2/1h", lasts = "2h", suspend = true },
    { "rate limit", name = "gentle", lasts = "30m",
      max_smtp_out = "50%", recover = "+1/10m", floor = 2 },
    { "mailbox full", retry_recipients_after = "6h", scope = "recipient" },
    { "^5\\d\\d .*spamhaus", lasts = "4h", reroute = "clean-pool", notify = true },
    { at = "connect", "too many conn", lasts = "15m", max_smtp_out = "50%" },
    { "putoff", defer = true },
    { "killone", bounce = "recipient" },
    { "killall", bounce = "queue" },
    { "nexthost", skip_mx = true },
    { "closeme", close = true },
    { "sitewide", scope = "site", lasts = "10m", max_smtp_out = 1 },
    { "vmtawide", scope = "vmta", lasts = "10m", max_smtp_out = 1 },
    { "S3140", function(reply, queue)
        if queue:recent("S3140", "1h") > 2 then queue:suspend "1d" end
      end },
    { "dis-source", disable_source = true, lasts = "1h" },
    { "forever", lasts = "forever", max_smtp_out = 3 },
    { "connect timed out", at = "connect", lasts = "10m", max_smtp_out = 1 },
  },
}
provider "rated" { domains = { "rated.example" }, max_msg_rate = "400/h", retry_jitter = "0%" }
provider "crated" { domains = { "crated.example" }, max_connect_rate = "6/h", max_msg_per_connection = 5, retry_after = "15m", retry_jitter = "0%" }
provider "mxp" { mx = { "*.mxp.example" }, max_smtp_out = 4 }
domain "jit.example" { retry_recipients_after = "10m", retry_jitter = "50%" }
domain "exp.example" { bounce_after = "1h", retry_jitter = "0%" }
domain "att.example" { max_attempts = 3, retry_recipients_after = "1m", retry_jitter = "0%" }
domain "list.example" { retry_recipients_after = { "1m", "2m", "4m" }, retry_jitter = "0%" }
domain "paused.example" { paused = true, bounce_after = "1h" }
domain "*" { retry_jitter = "0%" }
on.message(function(msg)
  if msg:header "X-No" then return reject "550 5.7.1 no" end
  if msg:header "X-Job" then msg.job = msg:header "X-Job" end
end)
