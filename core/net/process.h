/*
 * process - what the node asks of its machine at start and now and then.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"

uint64_t process_memory_used(void);     /* resident bytes of this process; 0: cannot be told */
void process_memory_trim(void);         /* what was freed goes back to the system, now */
void process_memory_aside(void);        /* from now on a thread sees to that, after seconds; it is what this one is: user, capabilities */
void process_open_files(void);          /* as many descriptors as the system lets us have */
unsigned process_cores(void);           /* that it may run on; at least 1 */
/*
 * For a process that strangers talk to; before its first thread, for most of this is a thread's own.
 * Nothing that it might start gets more rights than it has; its memory, in which mail and keys are, is neither dumped nor
 * read by others of the same user; a log that nobody reads any more does not end it. Of the capabilities it keeps
 * the one for ports below 1024; root also what it needs for files that others own, and until process_become() for that.
 */
bool process_harden(bool becomes_user, struct err *err);
bool process_is_root(void);
/* SIGHUP and SIGUSR1, which would end it, are told once a loop asks for them. Before its first thread. */
void process_hold_signals(void);
/* The name of that user; NULL: nobody. The caller frees it. */
char *process_user_name(uint32_t number);
/* Of root's rights until process_become() the ports below 1024 alone: files are opened with the user's. Before its first thread. */
bool process_act_as(const char *user, struct err *err);
/* Gives up root for the user and its groups, for good, and every capability. */
bool process_become(const char *user, struct err *err);
/*
 * The folder becomes the user's, so that it can write there after process_become(). Root gives none away that a symbolic link
 * leads to: whoever may write somewhere on the way could have put it there.
 */
bool process_give_folder(const char *path, const char *user, struct err *err);
