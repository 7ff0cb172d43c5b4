/*
 * src/ff_copy_in.h
 *	  Writing many rows to a table by the server's own COPY: with its speed, and all that it sees
 *to.
 */
#ifndef FF_COPY_IN_H
#define FF_COPY_IN_H

#include "ff.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#pragma GCC visibility push(hidden)

/*
 * Appends the columns of row number i (from 0) to a buffer, by the functions below; false: that row
 * is left out.
 */
typedef bool (*FfPutRow)(StringInfo row, uint32 i, const void *arg);

/* Writes count rows to columns (null-terminated) of a table of schema ff; how many there were. */
extern uint64 ff_copy_in(const char *table, const char *const *columns, uint32 count,
						 FfPutRow put_row, const void *arg);

/* The columns of a row, in COPY's binary format. A null string is NULL. */
extern void ff_put_text(StringInfo row, const char *string);
extern void ff_put_int8(StringInfo row, int64 value);

#pragma GCC visibility pop

#endif /* FF_COPY_IN_H */
