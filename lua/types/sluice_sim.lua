---@meta sluice.sim
-- Annotations for the Lua language server: worlds, as specs make them.
-- Nothing runs this file.
-- SPDX-License-Identifier: Apache-2.0

---@class sluice.sim
local sim = {}

---"30m", "1h30m", "80ms", or seconds
---@alias sim.duration string|number

---@class sim.world_options
---@field policy string the file, from the folder where `sluice spec` was started
---@field text? string the policy itself; the file is then only its name
---@field seed? integer of all that is random (the runner's: --seed, else 1)
---@field workers? integer event loops, 1 to 128 (as the policy says; "auto" is one)

---@param options sim.world_options
---@return sim.world
function sim.world(options) end

---@class sim.world
local world = {}

---The host of that name, and so the domain, unless dns says otherwise. Every host is there, also those that
---nobody names: they take everything.
---@param host string a name, or an address
---@return sim.receiver
function world:receiver(host) end

---@class sim.injection
---@field to string|string[]|fun(i: integer): string an address; a list (one message to all); each message's
---@field count? integer messages (1)
---@field from? string the sender (sender@example.com); "" is the null sender
---@field vmta? string as on.message would set it
---@field pool? string
---@field job? string
---@field priority? integer 0 to 100 (50)
---@field size? size of each message, at least
---@field headers? table<string, string>
---@field over? sim.duration spread evenly over that long, from now on (all now)
---@field rate? string so many in that time, "100/s": with count, or with over

---Messages by SMTP to the node, as from an allowed client. What is for now is answered when it returns.
---@param injection sim.injection
---@return integer accepted messages so far
---@return string? refusal the first one
function world:inject(injection) end

---@param duration sim.duration
function world:run_for(duration) end
---@param what sim.duration|fun(): any an instant, or what becomes true
function world:run_until(what) end
---Nothing is queued, no session is open, nothing more is to be injected.
function world:run_until_idle() end
---@return number seconds since the world began
function world:now() end
---@return integer
function world:seed() end

---What `why --json` prints; null is nil, and its `until` is why["until"].
---@param queue string "google/mta-1"
---@return table
function world:why(queue) end
---A row of `queues --json`.
---@param queue string
---@return table
function world:queue(queue) end
---Every setting in force by its name: durations in seconds, rates as declared, "unlimited".
---@param queue string
---@return table<string, any>
function world:effective(queue) end
---What reactions laid, as in why's overlays.
---@param queue string
---@return table[]
function world:overlays(queue) end
---What `status --json` prints.
---@return table
function world:status() end
---The accounting, oldest first: a table by the names of the CSV's columns each.
---@param where? table<string, string> only those whose fields are these: { type = "b" }
---@return table<string, string>[]
function world:records(where) end
---The same for worlds that did the same, to the byte.
---@return string
function world:digest() end

---Puts another policy in force while mail flows. Raises FILE:LINE where it is refused.
---@param file string
---@param text? string the policy itself; the file is then only its name
function world:swap(file, text) end
---Power goes; time runs on, the node is down.
function world:crash() end
---@class sim.restart_options
---@field workers? integer from now on (as before)

---Ends the node in order if it runs, and starts it with the policy file as it is now.
---@param options? sim.restart_options
function world:restart(options) end

---@class sim.fault
---@field torn_write? boolean at the next crash a record is on its way to the disk, half written
---@field lying_sync? boolean the disk says that it has synced, and has not
---@field disk_full? boolean
---@field disk_error? integer the n-th operation of the disk from now fails
---@field disk_cut? integer from the n-th operation on all fail, until the next crash: the power went there
---@field disk_says? "EIO"|"ENOSPC" with what operations fail
---@field bit_flip? true one bit of one file of the spool, at once
---@field bad_sector? true 4096 bytes of one file of the spool cannot be read from now on
---@field clock_jump? sim.duration somebody sets the wall clock: "1h", "-1h"
---@field dns? "servfail"|"timeout"|"ok" what every question is answered

---@param faults sim.fault
function world:fault(faults) end

---Operations of the disk so far.
---@return integer
function world:disk_calls() end

---@class sim.zone
---@field mx? { [1]: string, [2]: integer }[] hosts and preferences; none: there are none
---@field address? string|string[] {}: it has none (one of the world's choice)

---Felt at the next question. What was asked before a message came in is not asked again for it.
---@param zones table<string, sim.zone|"servfail"|"nxdomain"|"timeout">
function world:dns(zones) end

---@class sim.receiver_options
---@field latency? sim.duration of a reply: half of it each way
---@field max_connections? integer|"unlimited" at once; one more is told 421
---@field rate? string recipients it takes, "600/h"; one more is told 451
---@field starttls? boolean is offered
---@field tls_valid? boolean its certificate is

---@class sim.receiver
---@overload fun(options: sim.receiver_options): sim.receiver
local receiver = {}

---@class sim.event
---@field verb string "RCPT"
---@field line string the command as it was said
---@field at number seconds since the world began
---@field source string the client's address
---@field connection integer the number of the connection

---@class sim.answer
---@field to "connect"|"EHLO"|"MAIL"|"RCPT"|"DATA"|"."
---@field with? string "450 4.2.1 busy", or "reset", "hang", "close"
---@field fn? fun(event: sim.event): string? the reply; nil passes on
---@field when? fun(event: sim.event): any asked only where it says so
---@field times? integer so often, then no more
---@field every? integer each N-th of what it matches

---The newest rule is asked first; in the end the receiver accepts.
---@param rule sim.answer
---@return sim.receiver
function receiver:answer(rule) end
---A recipient's tries get 451 until so long after the first.
---@param delay sim.duration
---@return sim.receiver
function receiver:greylist(delay) end
---@param how? "refuses"|"silent" connections are refused, or nothing answers
---@return sim.receiver
function receiver:down(how) end
---@return sim.receiver
function receiver:up() end

---@alias sim.interval { from?: sim.duration, to?: sim.duration }

---@param interval? sim.interval
---@return integer opened
function receiver:connections(interval) end
---@param interval? sim.interval
---@return integer recipients accepted
function receiver:messages(interval) end
---@param interval? sim.interval
---@return integer open at once
function receiver:peak_connections(interval) end
---@return number[] seconds
function receiver:connected_at() end
---@param source? string only from that address
---@return integer connections open now
function receiver:open(source) end
---@param window sim.duration
---@return integer the most recipients in any window of that length
function receiver:rate_in_any(window) end

return sim
