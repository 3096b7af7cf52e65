/*
 * descriptors_os - who may have the last of them.
 *
 * Clients must not take the descriptors that their mail needs to leave, nor both
 * together those of the spool, the resolver and the operator's socket. The system
 * gives the lowest number that is free, so a descriptor's own number says how many
 * are in use at least, in the whole process, and nobody has to count.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

#include <limits.h>
#include <sys/resource.h>

#define INBOUND_LEAVES_MAX  4096        /* of few, a quarter */
#define OUTBOUND_LEAVES_MAX 2048        /* of few, an eighth */

void
descriptors_share(struct net_os *net)
{
	struct rlimit limit;
	int64_t all = INT_MAX;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX)
		all = (int64_t)limit.rlim_cur;
	net->inbound_end = (int)(all - min_i64(all / 4, INBOUND_LEAVES_MAX));
	net->outbound_end = (int)(all - min_i64(all / 8, OUTBOUND_LEAVES_MAX));
}
