/*
 * sightings - what a simulated receiver saw, and when: connections that opened and
 * closed, recipients that were accepted. All of it is kept, so that a spec
 * may ask for any interval and any window afterwards.
 *
 * An interval is half open: from is in it, to is not. A connection is open
 * from the instant it opened up to the one it closed at. A sliding window is
 * half open as well: what is exactly one length older is out.
 *
 * Ownership  init/fini on memory of the caller's.
 * Time       Microseconds since the world began; must not go back.
 * Limits     8 bytes a recipient, 24 a connection. Questions are answered by walking.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

struct instants {
	int64_t *at;
	size_t   n, cap;
};

struct sightings {
	struct instants opened, accepted;
	struct instants changes;        /* of the number open: 2t + 1 opened, 2t closed, in the order they came */
};

void sightings_init(struct sightings *seen);
void sightings_fini(struct sightings *seen);

void sightings_opened(struct sightings *seen, int64_t at_us);
void sightings_closed(struct sightings *seen, int64_t at_us);
void sightings_accepted(struct sightings *seen, int64_t at_us, uint32_t recipients);

uint64_t sightings_connections(const struct sightings *seen, int64_t from_us, int64_t to_us);
uint64_t sightings_recipients(const struct sightings *seen, int64_t from_us, int64_t to_us);
/* Most connections open at any instant of the interval. */
uint64_t sightings_peak(const struct sightings *seen, int64_t from_us, int64_t to_us);
/* Most recipients in any sliding window of that length (> 0). */
uint64_t sightings_rate(const struct sightings *seen, int64_t window_us);

/* The place of the first one at or behind `at_us`; n: there is none. */
size_t instants_find(const struct instants *instants, int64_t at_us);
