-- Made from seed002-combined-connection-control.conf by `sluice import-pmta`. Look over, before it sends:
--  * what is not written has sluice's default: PowerMTA's, but max_rcpt_per_message (100, was 1000),
--    connect_timeout (60s, was 2m), idle_timeout (5s, was none); a rate is spread evenly, without bursts;
--  * rollup = false in domain "*" keeps a queue for each domain, as in PowerMTA; without it domains of one MX set share.
--  * no listener: nothing in the configuration says who may send.
--  * who sends: the virtual MTA "default" leaves the choice of the address to the system.

vmta "default" { source = "any" }

-- Combined configuration for controlled connection behavior
domain "*" {
  rollup                 = false,
  max_smtp_out           = 8,        -- Max concurrent connections
  max_connect_rate       = "1/s",    -- Open 1 new connection per second
  max_msg_rate           = "300/h",  -- Messages per hour (optional cap)
  max_msg_per_connection = 100,      -- Messages per connection before reconnect
  -- Effective throughput calculation:
  -- 8 connections × 100 msgs/connection × reconnect every ~60s
  -- = 8 × 100 / 60 ≈ 13 msgs/second = ~47,000 msgs/hour per pool
  -- With 10 IPs in pool: ~470,000 msgs/hour to Gmail
}
