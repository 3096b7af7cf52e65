/*
 * resolver_conf - the name servers in the text of a resolv.conf(5).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/ip.h"

#define RESOLVER_SERVERS_MAX 6

/* Lines "nameserver ADDRESS"; port 53. What is no address (or has a zone, "%eth0") is
 * passed over, what is beyond the array too. Returns how many. */
unsigned resolver_conf_servers(struct span text, struct endpoint out[RESOLVER_SERVERS_MAX]);
