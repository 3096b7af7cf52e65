-- max_cpu_usage: a safety net that is another one here.
--
-- <max-cpu-usage>90</max-cpu-usage> is no directive of PowerMTA's, and sluice has
-- nothing that looks at the processor: a node that can't keep up takes mail more
-- slowly by itself. What can run out, and is guarded, is memory and disk.
-- SPDX-License-Identifier: Apache-2.0

node { memory_limit = "75%", min_free_space = "1G" }

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }
