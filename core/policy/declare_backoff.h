/*
 * declare_backoff - `backoff = { … }`: a list of reactions as written, read,
 * checked and compiled.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

/* NULL: something is wrong, and noted. */
const struct reaction_list *declare_backoff(struct loader *loader, int index, const struct where *at);
