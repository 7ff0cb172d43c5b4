/*
 * src/ff.c
 *	  Loading of the module: settings and callbacks, and nothing else.
 */
#include "ff_event.h"
#include "ff_stamp.h"
#include "ff_usage.h"

#include "commands/extension.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/guc.h"

FF_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

char *ff_namespace = NULL;
uint64 ff_namespace_changes = 0;
int ff_cache_size = 16384;
char *ff_actor = NULL;
char *ff_comment = NULL;
bool ff_notify = true;
int ff_stale_after = 30 * SECS_PER_DAY;
int ff_max_tracked_flags = 10000;

/* Call sites compare the count instead of the string. */
static void
assign_namespace(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	ff_namespace_changes++;
}

static void
define_settings(void)
{
	DefineCustomStringVariable("ff.actor", "Who changes flags, for the event log.",
							   "Empty: the session user. An application that connects as one user "
							   "says here whom it acts for.",
							   &ff_actor, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("ff.comment", "Why flags are changed, for the event log.", NULL,
							   &ff_comment, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"ff.notify", "Whether a change of flags notifies those who listen.",
		"A transaction that notifies cannot be prepared (PREPARE TRANSACTION); "
		"without it, listeners learn of the change when they look next.",
		&ff_notify, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("ff.namespace",
							   "Namespace of flags that functions use when none is named.", NULL,
							   &ff_namespace, "default", PGC_USERSET, 0, NULL, assign_namespace,
							   NULL);
	DefineCustomIntVariable("ff.cache_size", "Memory for compiled flags in each session.",
							"What was not used for longest goes first. Flags in use are kept "
							"whatever they take.",
							&ff_cache_size, 16384, 256, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("ff.stale_after",
							"How long a flag is unchanged, or not evaluated, before it is stale.",
							"View ff.stale_flags lists stale flags.", &ff_stale_after,
							30 * SECS_PER_DAY, 0, INT_MAX, PGC_USERSET, GUC_UNIT_S, NULL, NULL,
							NULL);
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("ff.max_tracked_flags",
								"Flags whose last evaluation is known, in all databases together.",
								"Each takes some 100 bytes of shared memory.",
								&ff_max_tracked_flags, 10000, 100, INT_MAX / 1024, PGC_POSTMASTER,
								0, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	define_settings();
	MarkGUCPrefixReserved("ff");
	ff_stamp_init();
	ff_event_init();
	ff_usage_init();
}
