/*
 * src/ff_buffer_private.h
 *	  How the exposure buffer lies in shared memory: for the files it is made of.
 */
#ifndef FF_BUFFER_PRIVATE_H
#define FF_BUFFER_PRIVATE_H

#include "ff_buffer.h"

#define FF_BATCH 1024 /* exposures that are added at once, at most */

typedef struct FfPartition
{
	LWLock *lock;
	uint32 first;                        /* of its slots */
	uint32 free;                         /* the first slot that was in use and is free */
	uint32 untouched;                    /* the first one that wasn't: those after it neither */
	uint32 free_count;                   /* of both kinds */
	FfCell cells[FLEXIBLE_ARRAY_MEMBER]; /* one for each place of a database */
} FfPartition;

/*
 * A place of the table by which entries are found: the first free one from where a hash belongs, in
 * circles. The bits of the hash that lie beside the slot's number tell most entries that are not
 * looked for without a look at their slots, which are far away.
 */
typedef struct FfPlace
{
	uint32 tag;  /* the lower half of the hash */
	uint32 slot; /* FF_NO_SLOT: a free place */
} FfPlace;

typedef struct FfBuffer
{
	LWLock *lock;       /* for what is said of databases */
	Latch *launcher;    /* NULL: it is not there */
	uint32 capacity;    /* slots in all */
	uint32 slots_each;  /* of a partition */
	uint32 places_each; /* of a partition; a power of two, at least twice its slots */
	Size partition_size;
	char *partitions;
	FfPlace *places;
	FfSlot *slots;
	FfDatabase databases[FLEXIBLE_ARRAY_MEMBER];
} FfBuffer;

#pragma GCC visibility push(hidden)

extern FfBuffer *ff_buffer; /* NULL: the module was not preloaded */

extern void ff_init_cell(FfCell *cell);

/* Drops all that is buffered of a database, and begins its books anew. */
extern void ff_buffer_clear(int database);

/* Puts an exposure of another database, by its place: while the server starts. */
extern void ff_buffer_load(FfDatabase *database, const FfExposure *exposure, const char *text);

/* The place of a database, claimed if need be; NULL where none is left. Under the lock. */
extern FfDatabase *ff_claim_database(Oid oid);

/* Takes back what was kept over a restart (ff_buffer_file.c). */
extern void ff_buffer_restore(void);

#pragma GCC visibility pop

#endif /* FF_BUFFER_PRIVATE_H */
