/*
 * banned - calls that do not compile, included before everything by the
 * Makefile. A file that wraps one defines ALLOW_TIME or ALLOW_RAND first… by
 * being named in the Makefile, not by itself.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#pragma GCC poison strcpy strcat sprintf vsprintf gets
