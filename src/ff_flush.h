/*
 * src/ff_flush.h
 *	  Writing exposures down: from the buffer to where they go.
 */
#ifndef FF_FLUSH_H
#define FF_FLUSH_H

#include "ff_buffer.h"

typedef enum FfSink
{
	FF_SINK_TABLE,
	FF_SINK_FILE,
	FF_SINK_MEMORY
} FfSink;

/* How long the ids of reported batches are known. */
#define FF_BATCHES_KEPT "7 days"

/* What a row says of its user. */
typedef enum FfStanding
{
	FF_SEEN,    /* nothing new, or there is no user, or it is none of the experiment's */
	FF_NEW,     /* his first variant */
	FF_CROSSED, /* another than his first, and he was not seen in it before */
	FF_RENEWED  /* his first variant in a later run of the experiment */
} FfStanding;

/* An exposure on its way: its parts as strings. */
typedef struct FfRow
{
	const FfExposure *exposure;
	const char *name_space;
	const char *flag_key;
	const char *variant_key;
	const char *user_id; /* NULL: none */
	const char *rule_id; /* NULL: none */
	uint32 slot;
	bool has_failed; /* in a flush before */
	int32 flag_hash; /* by ff_judge, as the rest */
	int32 user_hash;
	FfStanding standing;
	const char *first_variant; /* the user's */
} FfRow;

#pragma GCC visibility push(hidden)

extern int ff_exposure_sink;        /* ff.exposure_sink */
extern char *ff_exposure_directory; /* ff.exposure_directory */
extern int ff_exposure_file_size;   /* ff.exposure_file_size, in kB */

extern void ff_flush_init(void);

/*
 * Writes this database's exposures down and returns how many rows that were; what is written to
 * tables is when the transaction commits. 0 where there is nothing, on a standby, and where they
 * are kept in memory. Rows that fail while others don't stay behind, and so do those that are known
 * to fail; for the worker any whose fault it may be. Any other failure is an error, and everything
 * stays.
 */
extern int64 ff_flush(bool with_failed);

/* Keeps what the last flush came to, for ff.exposure_stats. */
extern void ff_note_flush_error(const char *message);

/* One who holds this until the end of the transaction is the only one who takes from the buffer. */
extern void ff_lock_flush(Oid extension);

/*
 * Makes a row, with a copy of all that it says: what is in shared memory may be another's when it
 * is written. The parts of the text are null-terminated in it.
 */
extern void ff_fill_row(FfRow *row, const FfExposure *exposure, const char *text);

/* Finds out the rows' standings; they are in order by flag and user after (ff_standing.c). */
extern void ff_judge(FfRow *rows, uint32 count);

/* Takes numbers for rows of ff.exposures, under ff_lock_flush: the first of them (ff_forward.c). */
extern int64 ff_take_exposure_ids(uint32 count);

/* The sinks: the rows become what they are there, or an error. A file takes as many as it likes. */
extern void ff_land(FfRow *rows, uint32 count);       /* ff_land.c */
extern void ff_check_isolation(const char *function); /* an error where the snapshot is fixed */
extern void ff_prepare_landing(void);                 /* an error where they can't land at all */
extern void ff_check_not_landing(void);               /* an error within ff_land */
extern uint32 ff_write_lines(const FfRow *rows, uint32 count); /* ff_lines.c: how many of them */

#pragma GCC visibility pop

#endif /* FF_FLUSH_H */
