/*
 * How fast the machine is just now: work that never changes, in the processor and in
 * its nearest caches. Where this became worse, the machine did: somebody else is on it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/bench.h"
#include "util/prng.h"

#define PLACES (64 * 1024u)             /* 256 KiB */
#define STEPS  5000000u

int
main(void)
{
	static uint32_t next[PLACES];
	struct prng prng;
	uint32_t at = 0;
	double start;

	prng_seed(&prng, 1);
	for (uint32_t i = 0; i < PLACES; i++)
		next[i] = (uint32_t)prng_below(&prng, PLACES);
	start = bench_cpu_s();
	for (uint32_t i = 0; i < STEPS; i++)
		at = next[(at + prng_u64(&prng)) % PLACES];
	check(at < PLACES);
	bench_tell((bench_cpu_s() - start) * 1e9 / STEPS, "ns", "machine.step");
	return 0;
}
