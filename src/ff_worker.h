/*
 * src/ff_worker.h
 *	  Background workers: one for each database that has the extension, and the launcher that sees
 *	  to them.
 */
#ifndef FF_WORKER_H
#define FF_WORKER_H

#include "ff.h"

#define FF_WORKER_TYPE "ff worker"

#pragma GCC visibility push(hidden)

extern int ff_exposure_flush_interval; /* ff.exposure_flush_interval, in milliseconds */

/*
 * Waits until the latch is set, or for as long, as a worker or the launcher has to. Whether
 * settings were read anew.
 */
extern bool ff_wait(long milliseconds);

/* Says that a database has no place in the buffer, and what to do about it. */
extern void ff_complain_of_room(int level, const char *database);

/* Has the launcher see which workers there are. */
extern void ff_wake_launcher(void);

/* Registers the launcher, and the hooks by which it learns what changes. */
extern void ff_launcher_init(void);

#pragma GCC visibility pop

#endif /* FF_WORKER_H */
