/*
 * circle - where reactions send mail: names that are declared, and no way that
 * leads back to where it began.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

void circle_check(struct loader *loader);
