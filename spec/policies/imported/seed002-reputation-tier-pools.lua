-- Made from seed002-reputation-tier-pools.conf by `sluice import-pmta`. Look over, before it sends:
--  * what is not written has sluice's default: PowerMTA's, but max_rcpt_per_message (100, was 1000),
--    connect_timeout (60s, was 2m), idle_timeout (5s, was none); a rate is spread evenly, without bursts;
--  * domains of one MX set share a queue, where PowerMTA has one for each: write rollup = false to keep them apart.
--  * no listener: nothing in the configuration says who may send.
--  * mail that names no virtual MTA leaves by "default", as in PowerMTA by {default}.

vmta "default" { source = "any" }
vmta "high-rep-pool-1" { source = "any" }  -- the pool had no member: give this one its address
vmta "recovering-pool-1" { source = "any" }  -- the pool had no member: give this one its address
vmta "warming-pool-1" { source = "any" }  -- the pool had no member: give this one its address

-- max-smtp-out configuration per ISP reputation tier

-- HIGH reputation pool:
pool "high-rep-pool" {
  "high-rep-pool-1",
  provider = {
    google = { max_smtp_out = 8 },
  },
}

-- MEDIUM reputation — recovering from incident:
pool "recovering-pool" {
  "recovering-pool-1",
  provider = {
    google = {
      max_smtp_out = 4,  -- Reduced until reputation recovers
    },
  },
  domain = {
    ["*"] = { retry_after = "20m" },
  },
}

-- Warming pool — brand new IPs:
pool "warming-pool" {
  "warming-pool-1",
  provider = {
    google = {
      max_smtp_out = 2,  -- Very low — no reputation history
    },
  },
  domain = {
    ["*"] = {
      max_msg_rate = "50/h",  -- ~1,200/day in week 1
      retry_after  = "30m",
    },
  },
}

provider "google" {
  domains = { "gmail.com", "googlemail.com" },
  mx      = { "*.google.com", "*.googlemail.com" },
}
