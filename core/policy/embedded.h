/*
 * embedded - the Lua files of lua/, in the binary.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

/* "sluice.sim" is lua/sluice/sim.lua. p NULL: no such file. */
struct span embedded_lua(struct span module);
