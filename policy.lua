vmta "v1" { source = { "192.0.2.1", "192.0.2.2" } }
vmta "v2" { source = "any" }
vmta "v3" { source = "any" }
pool "others" { "v2", "v3" }
domain "*" { retry_jitter = "0%", max_smtp_out = 6, total_max_smtp_out = 8, bounce_after = "1h" }
