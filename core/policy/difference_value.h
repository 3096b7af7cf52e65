/*
 * difference_value - a value as a difference shows it, and whether two are the
 * same.
 *
 * Ownership  Texts are the arena's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/difference.h"

/* NULL is no value. */
struct difference_value difference_of_text(struct arena *arena, const char *text);
struct difference_value difference_of_number(struct arena *arena, double number);
struct difference_value difference_of_count(struct arena *arena, uint32_t count);
struct difference_value difference_of_bool(struct arena *arena, bool on);
struct difference_value difference_of_rate(struct arena *arena, const struct rate_spec *rate);
struct difference_value difference_of_duration(struct arena *arena, int64_t us);
/* other: the side that it is compared with, for what is too long to be shown whole. */
struct difference_value difference_of_setting(struct arena *arena, const struct queue_settings *settings,
					      const struct queue_settings *other, enum setting_id id);
bool difference_same_text(const char *a, const char *b);
bool difference_same_setting(const struct queue_settings *a, const struct queue_settings *b, enum setting_id id);
