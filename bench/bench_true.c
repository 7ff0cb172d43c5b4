/*
 * bench/bench_true.c
 *	  The floor under every function: one that takes what ff_bool takes and returns true.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_true);

Datum
bench_true(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}
