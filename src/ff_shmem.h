/*
 * src/ff_shmem.h
 *	  Shared memory, where the module is preloaded, and what of it is kept over a clean restart.
 */
#ifndef FF_SHMEM_H
#define FF_SHMEM_H

#include "ff.h"

#pragma GCC visibility push(hidden)

/* Asks for shared memory, where the module is preloaded, and has its parts make and keep theirs. */
extern void ff_shmem_init(void);

/*
 * The parts. request says how much a part needs; startup finds what is there, or makes it and
 * restores what was kept, under AddinShmemInitLock; save keeps it, when the server has ended
 * cleanly: in the postmaster, which is the last to go.
 */
extern void ff_usage_request(void); /* ff_usage.c */
extern void ff_usage_startup(void);
extern void ff_usage_save(void);
extern void ff_buffer_request(void); /* ff_buffer_shmem.c */
extern void ff_buffer_startup(void);
extern void ff_buffer_save(void); /* ff_buffer_file.c */

/*
 * Writes a file by a function that says whether it could; nothing is left of one that it couldn't,
 * which is logged, with what is lost by that (or NULL).
 */
extern void ff_save_file(const char *path, bool (*write)(FILE *file), const char *loss);

/* Reads a file that was saved, if there is one. It is gone then: after a crash there is none. */
extern void ff_restore_file(const char *path, void (*read)(FILE *file));

#pragma GCC visibility pop

#endif /* FF_SHMEM_H */
