/*
 * reaction_text - a rule in words, as a person compares two: "421 RP-001 (x.lua:8):
 * max_smtp_out 5, max_msg_rate 1000/h, lasts 1h".
 *
 * Ownership  Texts lie in the arena.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/reaction.h"

#define REACTION_TEXTS_MAX 5            /* rules of one list; the rest is counted */

const char *reaction_text(struct arena *arena, const struct reaction *reaction);
bool reaction_same(const struct reaction *a, const struct reaction *b);
/* Those of the list that the other one has not, or has otherwise or elsewhere; NULL: no rules. */
const char *reaction_list_text(struct arena *arena, const struct reaction_list *list, const struct reaction_list *other);
