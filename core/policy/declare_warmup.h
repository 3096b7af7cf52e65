/*
 * declare_warmup - `warmup = { … }` of a virtual MTA, read and checked.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/declare.h"

declare_take declare_warmup;                    /* into a struct ruleset_vmta */
void warmup_check(struct loader *loader);       /* the names, when all is declared */
