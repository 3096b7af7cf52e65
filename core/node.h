/*
 * node - the wiring: doors, shards, listeners, control. The only file that
 * knows everyone.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"

struct node_options {
	const char *policy;
	const char *folder;             /* that relative paths in it begin in; NULL: the process's own */
	const char *spool, *control, *accounting, *http, *resolver;     /* NULL: as the policy says */
	unsigned    workers;                                            /* 0: as the policy says */
	bool        watch;              /* swap when a file of the policy changes */
	bool        last_good;          /* run the last good policy where this one does not load */
};

/* Runs until SIGTERM or SIGINT. The exit status. Everything it says goes to standard error. */
int node_run(const struct node_options *options);
