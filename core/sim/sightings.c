/*
 * Arrays of instants, each in order, so that an interval is two binary
 * searches. What several changes at one instant led to is told by the order they
 * were seen in: a node may hand a place on without time passing.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sightings.h"

#include <stdlib.h>

#define CAP_FIRST 64

static void
instants_add(struct instants *instants, int64_t at)
{
	if (instants->n == instants->cap) {
		instants->cap = instants->cap ? instants->cap * 2 : CAP_FIRST;
		instants->at = mem_grow(instants->at, instants->cap * sizeof(*instants->at));
	}
	instants->at[instants->n++] = at;
}

size_t
instants_find(const struct instants *instants, int64_t at)
{
	size_t low = 0, high = instants->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (instants->at[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t
instants_between(const struct instants *instants, int64_t from, int64_t to)
{
	return from < to ? instants_find(instants, to) - instants_find(instants, from) : 0;
}

void
sightings_init(struct sightings *seen)
{
	*seen = (struct sightings){ 0 };
}

void
sightings_fini(struct sightings *seen)
{
	free(seen->opened.at);
	free(seen->accepted.at);
	free(seen->changes.at);
	sightings_init(seen);
}

void
sightings_opened(struct sightings *seen, int64_t at_us)
{
	instants_add(&seen->opened, at_us);
	instants_add(&seen->changes, at_us * 2 + 1);
}

void
sightings_closed(struct sightings *seen, int64_t at_us)
{
	instants_add(&seen->changes, at_us * 2);
}

void
sightings_accepted(struct sightings *seen, int64_t at_us, uint32_t recipients)
{
	for (uint32_t i = 0; i < recipients; i++)
		instants_add(&seen->accepted, at_us);
}

uint64_t
sightings_connections(const struct sightings *seen, int64_t from_us, int64_t to_us)
{
	return instants_between(&seen->opened, from_us, to_us);
}

uint64_t
sightings_recipients(const struct sightings *seen, int64_t from_us, int64_t to_us)
{
	return instants_between(&seen->accepted, from_us, to_us);
}

static bool
opens(int64_t change)
{
	return change & 1;
}

static int64_t
instant_of(int64_t change)
{
	return change >> 1;
}

uint64_t
sightings_peak(const struct sightings *seen, int64_t from_us, int64_t to_us)
{
	const struct instants *changes = &seen->changes;
	uint64_t open = 0, most = 0;
	size_t i = 0;

	if (from_us >= to_us)
		return 0;
	/* Who closed at `from` is not open at it. */
	for (; i < changes->n && instant_of(changes->at[i]) < from_us + !opens(changes->at[i]); i++)
		open += opens(changes->at[i]) ? 1 : UINT64_MAX;
	most = open;
	for (; i < changes->n && instant_of(changes->at[i]) < to_us; i++) {
		open += opens(changes->at[i]) ? 1 : UINT64_MAX;
		if (open > most)
			most = open;
	}
	return most;
}

uint64_t
sightings_rate(const struct sightings *seen, int64_t window_us)
{
	const struct instants *accepted = &seen->accepted;
	uint64_t most = 0;

	for (size_t first = 0, end = 0; end < accepted->n; end++) {
		while (accepted->at[end] - accepted->at[first] >= window_us)
			first++;
		if (end + 1 - first > most)
			most = end + 1 - first;
	}
	return most;
}
