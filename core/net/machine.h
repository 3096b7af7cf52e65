/*
 * machine - what the process asks of its machine at start and now and then.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"

uint64_t machine_memory_used(void);     /* resident bytes of this process; 0: cannot be told */
void machine_open_files(void);          /* as many descriptors as the system lets us have */
/* Gives up root for the user and its groups, for good. */
bool machine_become(const char *user, struct err *err);
/* The user's, so that it can write there after machine_become(). */
bool machine_give_path(const char *path, const char *user, struct err *err);
