-- plain: a policy for specs of the node, with a provider, a rate and a rule.
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" }, max_message_size = "100K" }

vmta "mta-1" { source = "203.0.113.10" }
vmta "mta-2" { source = "203.0.113.11" }
pool "default" { "mta-1" }
pool "other" { "mta-2" }

provider "google" {
  domains = { "gmail.com" }, max_smtp_out = 3, max_msg_rate = "600/h", retry_after = "10m",
  backoff = { { "421 RP-002", lasts = "30m", max_smtp_out = 2 } },
}

domain "*" { max_smtp_out = 10, retry_recipients_after = "5m", retry_jitter = "0%" }
