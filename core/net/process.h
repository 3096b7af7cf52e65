/*
 * process - what the node asks of its machine at start and now and then.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"

uint64_t process_memory_used(void);     /* resident bytes of this process; 0: cannot be told */
void process_memory_trim(void);         /* what was freed goes back to the system */
void process_open_files(void);          /* as many descriptors as the system lets us have */
unsigned process_cores(void);           /* that it may run on; at least 1 */
/* Gives up root for the user and its groups, for good. */
bool process_become(const char *user, struct err *err);
/* The user's, so that it can write there after process_become(). */
bool process_give_path(const char *path, const char *user, struct err *err);
