---@meta sluice
-- Annotations for the Lua language server: completion and checks in an editor.
-- Nothing runs this file. The reference is policies/README.md.
-- SPDX-License-Identifier: Apache-2.0

---"30m", "1h30m", "4d12h", or seconds
---@alias duration string|number
---"10m,20m,1h" or a list; the last repeats
---@alias durations duration|duration[]
---"400/h", "100/15m", "unlimited", or { "400/h", burst = 50 }
---@alias rate string|{ [1]: string, burst: integer }
---"25M", "10G", or bytes
---@alias size string|integer
---a number from 1, or "unlimited"
---@alias count integer|"unlimited"
---"5%"
---@alias percent string
---"gmail.com", "*.example.com", "[*.]example.com", "*"
---@alias domain_pattern string
---"host", "host:port", "[address]:port"; "," same preference, ";" next
---@alias hosts string|string[]

---"connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "final"
---@alias stage "connect"|"greeting"|"ehlo"|"starttls"|"auth"|"mail"|"rcpt"|"data"|"final"

---@class tightenings
---@field max_smtp_out? integer|percent
---@field total_max_smtp_out? integer|percent
---@field max_connect_rate? rate|percent
---@field total_max_connect_rate? rate|percent
---@field max_msg_rate? rate|percent
---@field total_max_msg_rate? rate|percent
---@field max_msg_per_connection? integer|percent
---@field max_rcpt_per_message? integer|percent
---@field max_errors_per_connection? integer|percent
---@field mx_connection_attempts? integer|percent
---@field retry_after? durations
---@field retry_recipients_after? durations
---@field retry_after_dns_error? duration
---@field lasts? duration|"forever"
---@field floor? integer that a percent never cuts below (1)

---@class reaction : tightenings
---@field [1] string the pattern (PCRE2), on the reply as one line
---@field [2]? fun(reply: reply, queue: queue)
---@field name? string (the pattern)
---@field at? stage|stage[]|string (any reply)
---@field after? string "2/1h" (the first match)
---@field recover? string "+1/10m" or "10%/h" (at once)
---@field suspend? boolean no new sessions
---@field defer? boolean the queue waits for retry_after
---@field bounce? "recipient"|"queue"
---@field reroute? string a virtual MTA or pool
---@field disable_source? boolean the local address that got the reply is not used
---@field skip_mx? boolean the next MX host, even for a 5xx
---@field close? boolean the session ends
---@field scope? "queue"|"site"|"vmta"|"recipient" ("queue")
---@field notify? boolean a warning in the log
---@field stop? boolean no rule behind it is asked

---@class reactions
---@field [integer] reaction
---@field inherit? boolean go on with the next level's (false)

---@class queue_settings
---@field max_smtp_out? count open sessions of a queue (20)
---@field total_max_smtp_out? count open sessions to the site, all virtual MTAs together ("unlimited")
---@field max_connect_rate? rate connections started by a queue ("unlimited")
---@field total_max_connect_rate? rate connections started to the site ("unlimited")
---@field max_msg_rate? rate recipients attempted by a queue ("unlimited")
---@field total_max_msg_rate? rate recipients attempted at the site ("unlimited")
---@field max_msg_per_connection? count messages, then QUIT ("unlimited")
---@field max_rcpt_per_message? count recipients of one transaction (100)
---@field max_errors_per_connection? count refused recipients before the session is closed ("unlimited")
---@field retry_after? durations the queue's pause after a connection-level failure ("10m")
---@field retry_recipients_after? durations floor for a recipient that got a 4xx ("10m")
---@field retry_after_dns_error? duration after SERVFAIL, a timeout or a refusal by the resolver ("1m")
---@field retry_jitter? percent retries come later by up to this ("5%")
---@field bounce_after? duration age at which a recipient is bounced ("4d12h")
---@field max_attempts? count attempts before a recipient is bounced ("unlimited")
---@field smtp_hosts? hosts replaces DNS (by MX)
---@field smtp_port? integer (25)
---@field mx_connection_attempts? count hosts tried in a cycle (10)
---@field use_starttls? boolean (true)
---@field require_starttls? boolean (false)
---@field verify_tls? boolean (false)
---@field tls_ca? string certificates that verify_tls trusts (the system's)
---@field connect_timeout? duration ("60s")
---@field greeting_timeout? duration ("5m")
---@field command_timeout? duration ("5m")
---@field data_timeout? duration ("3m")
---@field final_timeout? duration ("10m")
---@field idle_timeout? duration ("5s")
---@field bounce_upon_no_mx? boolean bounce a domain without MX, though it has an address (false)
---@field rollup? boolean share a site with the domains of the same MX set (true)
---@field backoff? reactions
---@field paused? boolean (false)

---@class node_settings
---@field hostname? string (the machine's)
---@field spool? string ("/var/spool/sluice")
---@field control? string (control.sock in the spool)
---@field workers? integer|"auto" ("auto")
---@field resolver? string|string[] (/etc/resolv.conf)
---@field accounting? { file: string, records?: string[] }
---@field max_smtp_out? count (5000)
---@field max_smtp_in? count (1000)
---@field max_msg_rate? rate ("unlimited")
---@field memory_limit? size|percent ("75%")
---@field min_free_space? size ("1G")
---@field user? string (stay)
---@field seed? integer (from the system)

---@class listener_settings
---@field relay_from? string|string[] networks that may send to anybody (none)
---@field relay_to? domain_pattern|domain_pattern[] domains that anybody may send to (none)
---@field hostname? string (the node's)
---@field max_message_size? size ("25M")
---@field max_rcpt_per_message? integer (1000)
---@field max_messages_per_connection? count (10000)
---@field max_sessions? count (the node's max_smtp_in)
---@field max_sessions_per_client? count ("unlimited")
---@field max_errors? count (10)
---@field command_timeout? duration ("5m")
---@field data_timeout? duration ("10m")
---@field tls? { certificate: string, key: string } (no STARTTLS)
---@field require_tls? boolean (false)

---@class vmta_settings
---@field source string|string[] one address, a list used in turn, or "any"
---@field hostname? string (the node's)
---@field max_smtp_out? count over everything it sends ("unlimited")
---@field max_connect_rate? rate ("unlimited")
---@field max_msg_rate? rate ("unlimited")
---@field provider? table<string, queue_settings>
---@field domain? table<domain_pattern, queue_settings>
---@field warmup? warmup

---@class warmup
---@field start string "2026-01-01": day 1, in UTC
---@field per_day integer[] recipients of each day to a site; the last holds from then on
---@field provider? string|string[] (every site)
---@field overflow string the virtual MTA or pool that the rest goes by

---@class pool_settings
---@field [integer] string|{ [1]: string, weight: integer } members
---@field max_smtp_out? count over what its members send ("unlimited")
---@field max_connect_rate? rate ("unlimited")
---@field max_msg_rate? rate ("unlimited")
---@field provider? table<string, queue_settings>
---@field domain? table<domain_pattern, queue_settings>

---@class provider_settings : queue_settings
---@field domains? string|string[]
---@field mx? domain_pattern|domain_pattern[]

---@param settings node_settings
function node(settings) end

---@param address string "127.0.0.1:2525"
---@return fun(settings: listener_settings)
function listener(address) end

---@param name string
---@return fun(settings: vmta_settings)
function vmta(name) end

---@param name string
---@return fun(settings: pool_settings)
function pool(name) end

---@param name string
---@return fun(settings: provider_settings)
function provider(name) end

---@param names domain_pattern|domain_pattern[]
---@return fun(settings: queue_settings)
function domain(names) end

---@class session
---@field address string the client's
---@field local_address string
---@field listener string as declared
---@field helo? string
---@field tls? string "TLSv1.2"; nil in clear
---@field auth? string who signed in

---@class message
---@field sender string "" for the null sender
---@field recipients string[]
---@field size integer bytes as received
---@field auth? string
---@field source string the client's address
---@field tls? string
---@field helo? string
---@field from_domain? string of the first address in From
---@field id string
---@field pool? string who sends: a pool
---@field vmta? string who sends: a virtual MTA
---@field job? string
---@field priority integer 0 to 100
---@field envid? string
---@field session session
local message = {}

---@param name string
---@return string? value the first, unfolded
function message:header(name) end

---@param name string
---@return string[] values
function message:headers(name) end

---@param name string
---@param value string
function message:add_header(name, value) end

---@param name string
---@return integer removed
function message:remove_header(name) end

---@param name string
---@param value string
function message:set_header(name, value) end

---@param name string
---@param value string
function message:replace_header(name, value) end

---@class decision

---@param reply string "552 5.3.4 too big for you"
---@return decision
function reject(reply) end

on = {}

---@param hook fun(session: session): decision?
function on.connect(hook) end

---@param hook fun(session: session, sender: string): decision?
function on.mail(hook) end

---@param hook fun(session: session, recipient: string): decision?
function on.rcpt(hook) end

---@param hook fun(msg: message): decision?
function on.message(hook) end

---@class reply
---@field code integer
---@field enhanced string "4.7.0", or ""
---@field text string
---@field line string the whole line
---@field stage? stage

---@class queue
---@field name string "google/mta-1"
---@field site string
---@field vmta string
local queue = {}

---@param limits tightenings
function queue:limit(limits) end

---@param lasts duration|"forever"
function queue:suspend(lasts) end

function queue:defer() end

---@param name string of a rule, or its pattern
---@param window duration
---@return integer matches this one included
function queue:recent(name, window) end

---@param name? string of a rule; all
---@return integer lifted
function queue:lift(name) end

---@class attempt
---@field sender string
---@field recipient string
---@field job? string
---@field envid? string
---@field id string
---@field size integer
---@field queue string
---@field site string
---@field vmta string
---@field pool? string
---@field remote_host? string
---@field remote_address? string
---@field local_address? string
---@field attempts integer
---@field reply? reply

---@param hook fun(reply: reply, queue: queue)
function on.reply(hook) end

---@param hook fun(attempt: attempt)
function on.delivered(hook) end

---@param hook fun(attempt: attempt)
function on.bounced(hook) end

---@param interval duration
---@param hook fun()
function on.every(interval, hook) end

KB, MB, GB = 1024, 1048576, 1073741824
