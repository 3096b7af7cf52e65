provider "a" { domains = "a.example" }
vmta "v1" { source = "any", warmup = { start = "1970-01-01", per_day = { 2 }, provider = "a", overflow = "v2" } }
vmta "v2" { source = "any" }
domain "*" { max_smtp_out = 3, retry_jitter = "0%" }
