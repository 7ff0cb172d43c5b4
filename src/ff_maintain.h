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
} FfUpkeep;

#pragma GCC visibility push(hidden)

extern int ff_exposure_retention; /* ff.exposure_retention, in seconds; 0: for ever */

/* Each of these can be a transaction of its own. They raise errors, as of a lock timeout. */
extern void ff_make_partitions(FfUpkeep *upkeep);
extern void ff_drop_partitions(FfUpkeep *upkeep);
extern void ff_check_sample_ratios(void);

#pragma GCC visibility pop

#endif /* FF_MAINTAIN_H */
