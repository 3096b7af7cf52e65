/*
 * banned - calls that do not compile, included before everything by the
 * Makefile.
 *
 * Unbounded string calls have no use. Time and chance come through a door
 * (net/clock.h, util/prng.h), so that a simulated world owns them. A file that
 * must call one of the latter is built with -DALLOW_TIME by the Makefile; no
 * file allows it to itself.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

/* Before the headers that declare them: clang takes the attribute only on the
 * first declaration. */
#ifndef ALLOW_TIME
#define BANNED(instead) __attribute__((error(instead)))
BANNED("use a struct prng") int rand(void);
BANNED("use a struct prng") long int random(void);
BANNED("take now as an argument") time_t time(time_t *timer);
BANNED("take now as an argument") int gettimeofday(struct timeval *restrict tv, void *restrict tz);
BANNED("start a timer") unsigned int sleep(unsigned int seconds);
BANNED("start a timer") int usleep(useconds_t useconds);
#undef BANNED
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#undef strcpy
#undef strcat
#undef vsprintf
#pragma GCC poison strcpy strcat vsprintf gets
/* Not poisoned: luaconf.h names it in a macro that nobody uses. */
#undef sprintf
#define sprintf(...) sprintf_is_banned_use_snprintf
