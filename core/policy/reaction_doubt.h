/*
 * reaction_doubt - rules that load and can never match: warned about, and
 * marked (reaction.cannot).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"
#include "policy/reaction_book.h"

void reaction_doubt(struct loader *loader, struct reaction_part *part);
/* When all is declared: percents of what nothing limits. */
void reaction_doubt_percents(struct loader *loader);
