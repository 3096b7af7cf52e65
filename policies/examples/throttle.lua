-- throttle: what a provider's "too many connections" should do to us.
--
-- The proof that it does is spec/policies/examples/throttle_spec.lua.

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

provider "microsoft" {
  domains = { "hotmail.com", "outlook.com", "live.com", "msn.com" },
  mx      = { "*.olc.protection.outlook.com" },

  max_smtp_out = 20,

  backoff = {
    -- Too many connections for this address's reputation: an hour with few of them.
    { "421 RP-001", lasts = "1h", max_smtp_out = 5, max_msg_rate = "1000/h" },
  },
}
