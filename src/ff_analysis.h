/*
 * src/ff_analysis.h
 *	  What the analysis of experiments shares.
 */
#ifndef FF_ANALYSIS_H
#define FF_ANALYSIS_H

#include "ff.h"

#include "datatype/timestamp.h"

/* A run of an experiment: exposures from start to end belong to it. */
typedef struct FfRun
{
	bool active;
	TimestampTz start; /* DT_NOBEGIN: no matter when */
	TimestampTz end;   /* DT_NOEND: likewise */
} FfRun;

#pragma GCC visibility push(hidden)

/* The run that a flag's definition tells of; false where it has no experiment (ff_allocation.c). */
extern bool ff_read_run(const ffe_node *flag, FfRun *run);

#pragma GCC visibility pop

#endif /* FF_ANALYSIS_H */
