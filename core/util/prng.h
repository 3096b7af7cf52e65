/*
 * prng - xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64.
 * Not for secrets.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

struct prng { uint64_t s[4]; };

void     prng_seed(struct prng *prng, uint64_t seed);
uint64_t prng_u64(struct prng *prng);
uint64_t prng_below(struct prng *prng, uint64_t n);     /* 0 … n-1, unbiased */
double   prng_double(struct prng *prng);                /* [0, 1) */
uint64_t prng_entropy(void);                            /* a seed from the system */
