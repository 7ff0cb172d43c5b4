/*
 * src/ff_maintain.h
 *	  Upkeep of what is kept of exposures.
 */
#ifndef FF_MAINTAIN_H
#define FF_MAINTAIN_H

#include "ff.h"

/* What was done. */
typedef struct FfUpkeep
{
	int made; /* partitions */
	int dropped;
	int64 deleted; /* rows that were in no partition of their own */
	int put_off;   /* steps that waited too long for a lock: worth another attempt soon */
} FfUpkeep;

#pragma GCC visibility push(hidden)

extern int ff_exposure_retention; /* ff.exposure_retention, in seconds; 0: for ever */

/*
 * Each of these can be a transaction of its own. What fails of the first two is a warning, and they
 * go on.
 */
extern void ff_make_partitions(FfUpkeep *upkeep);
extern void ff_drop_partitions(FfUpkeep *upkeep);
extern void ff_check_sample_ratios(void);

#pragma GCC visibility pop

#endif /* FF_MAINTAIN_H */
