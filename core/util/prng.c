/*
 * xoshiro256** 1.0 and splitmix64 after the authors' public domain code
 * (https://prng.di.unimi.it). prng_below is Lemire's multiply and reject.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/prng.h"

#include <errno.h>
#include <sys/random.h>

static inline uint64_t
rotl(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

static uint64_t
splitmix64(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void
prng_seed(struct prng *prng, uint64_t seed)
{
	for (size_t i = 0; i < countof(prng->s); i++)
		prng->s[i] = splitmix64(&seed);
}

uint64_t
prng_u64(struct prng *prng)
{
	uint64_t *s = prng->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t
prng_below(struct prng *prng, uint64_t n)
{
	check(n > 0);
	uint64_t reject_below = -n % n;
	for (;;) {
		unsigned __int128 product = (unsigned __int128)prng_u64(prng) * n;
		if ((uint64_t)product >= reject_below)
			return (uint64_t)(product >> 64);
	}
}

double
prng_double(struct prng *prng)
{
	return (double)(prng_u64(prng) >> 11) * 0x1.0p-53;
}

uint64_t
prng_entropy(void)
{
	uint64_t seed;
	ssize_t n;
	do
		n = getrandom(&seed, sizeof(seed), 0);
	while (n < 0 && errno == EINTR);
	check(n == (ssize_t)sizeof(seed));
	return seed;
}
