/*
 * src/ff_note.h
 *	  Noting exposures, on the path of evaluation.
 */
#ifndef FF_NOTE_H
#define FF_NOTE_H

#include "ff.h"

#include "access/xact.h"
#include "datatype/timestamp.h"

typedef enum FfExposureMode
{
	FF_EXPOSURES_OFF,
	FF_EXPOSURES_OF_EXPERIMENTS,
	FF_EXPOSURES_OF_ALL
} FfExposureMode;

#define FF_SUBJECTS 4 /* variants of a flag that a call site remembers */

/* A flag's variant as exposures name it. */
typedef struct FfSubject
{
	uint64 contents; /* ff_contents when it was made; 0: never */
	uint64 serial;   /* of all that this process has made */
	int32 variant;
	uint16 head_len;
	uint64 hash;
	TimestampTz started; /* of the experiment's run; DT_NOBEGIN: not said */
	char head[FF_MAX_NAMESPACE + 1 + 2 * (FFE_MAX_KEY + 1)];
} FfSubject;

#pragma GCC visibility push(hidden)

extern int ff_exposure_mode; /* ff.exposure_mode */

/* The mode that holds: off where a session has been told that nothing is recorded. */
extern FfExposureMode ff_noting;

extern void ff_note_init(void);
extern void ff_assign_exposure_mode(int newval, void *extra);

/* Whether an evaluation that answered this is to be noted. */
static inline bool
ff_is_noted(const ffe_result *result)
{
	if (likely(!result->exposed && ff_noting != FF_EXPOSURES_OF_ALL))
		return false;
	return ff_noting != FF_EXPOSURES_OFF && result->status == FFE_OK && result->variant >= 0;
}

/*
 * Notes the last evaluation, whose result this is, of a flag of a namespace. subjects are
 * FF_SUBJECTS of the call site's, or NULL where it has none.
 */
extern void ff_note(FfNamespace *space, uint32 id, const ffe_result *result, FfSubject *subjects);

/* When what is shown now is shown: a procedure that commits has a transaction that began later. */
static inline TimestampTz
ff_time_shown(void)
{
	return Max(GetCurrentStatementStartTimestamp(), GetCurrentTransactionStartTimestamp());
}

/* Brings what this process has noted into the buffer. */
extern void ff_note_push(void);

#pragma GCC visibility pop

#endif /* FF_NOTE_H */
