/*
 * pace - how many events an hour there were lately, from two counts and no list.
 *
 * The last whole window counts for as much of itself as still lies within one
 * window of now: an estimate for a person, not a limit.
 *
 * Time       Handed in; must not go back.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

#define PACE_WINDOW_US (300 * US_PER_S)

struct pace {                           /* all zero: nothing yet */
	mono_us_t began;                /* of the window that is running */
	uint32_t  now, before;          /* events in it, and in the one before */
};

void pace_add(struct pace *pace, uint32_t n, mono_us_t now);
double pace_per_hour(const struct pace *pace, mono_us_t now);
