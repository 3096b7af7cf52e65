/*
 * machine - what a policy takes from the machine where it says nothing.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mail/domain.h"

void machine_hostname(char out[DOMAIN_MAX]);    /* "localhost" where the machine has none that is one */
uint64_t machine_memory(void);                  /* bytes: the machine's, or the control group's where that is less */
