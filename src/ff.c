/*
 * src/ff.c
 *	  Loading of the module: settings and callbacks, and nothing else.
 */
#include "ff_event.h"
#include "ff_flush.h"
#include "ff_maintain.h"
#include "ff_note.h"
#include "ff_shmem.h"
#include "ff_stamp.h"
#include "ff_trigger.h"
#include "ff_usage.h"
#include "ff_worker.h"

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
bool ff_allow_experiment_change = false;
int ff_stale_after = 30 * SECS_PER_DAY;
int ff_max_tracked_flags = 10000;
static double sample_ratio_tolerance = 5; /* read by view ff.sample_ratio alone */

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
	DefineCustomBoolVariable(
		"ff.allow_experiment_change",
		"Whether a flag may change who gets which variant while its experiment is active.",
		"Users who are in the experiment already may get another variant, which spoils its "
		"numbers.",
		&ff_allow_experiment_change, false, PGC_USERSET, 0, NULL, NULL, NULL);
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
	DefineCustomRealVariable("ff.sample_ratio_tolerance",
							 "Deviation of a variant's share of users that is a warning.",
							 "In percentage points, where an allocation has 1,000 users or more. "
							 "View ff.sample_ratio lists shares and warnings.",
							 &sample_ratio_tolerance, 5, 0, 100, PGC_USERSET, 0, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("ff.max_tracked_flags",
								"Flags whose last evaluation is known, in all databases together.",
								"Each takes some 100 bytes of shared memory.",
								&ff_max_tracked_flags, 10000, 100, INT_MAX / 1024, PGC_POSTMASTER,
								0, NULL, NULL, NULL);
}

static const struct config_enum_entry exposure_modes[] = {{"off", FF_EXPOSURES_OFF, false},
														  {"experiments",
														   FF_EXPOSURES_OF_EXPERIMENTS, false},
														  {"all", FF_EXPOSURES_OF_ALL, false},
														  {NULL, 0, false}};

static const struct config_enum_entry sinks[] = {{"table", FF_SINK_TABLE, false},
												 {"file", FF_SINK_FILE, false},
												 {"memory", FF_SINK_MEMORY, false},
												 {NULL, 0, false}};

/* Who is shown what is everybody's own; where it goes is the server's. */
static void
define_exposure_settings(void)
{
	DefineCustomEnumVariable("ff.exposure_mode", "Which evaluations are noted as exposures.",
							 "Those that serve a variant of an active experiment, all that serve a "
							 "variant, or none.",
							 &ff_exposure_mode, FF_EXPOSURES_OF_EXPERIMENTS, exposure_modes,
							 PGC_USERSET, 0, NULL, ff_assign_exposure_mode, NULL);
	DefineCustomEnumVariable(
		"ff.exposure_sink", "Where exposures go.",
		"To table ff.exposures, to files in ff.exposure_directory, or nowhere: "
		"they are kept in memory.",
		&ff_exposure_sink, FF_SINK_TABLE, sinks, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("ff.exposure_directory", "Directory of the files with exposures.",
							   NULL, &ff_exposure_directory, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("ff.exposure_file_size",
							"Size after which another file is begun for exposures.", NULL,
							&ff_exposure_file_size, 65536, 64, MAX_KILOBYTES, PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("ff.exposure_flush_interval",
							"How long exposures stay in memory at most.", NULL,
							&ff_exposure_flush_interval, 10000, 100, INT_MAX / 2, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("ff.exposure_flush_count",
							"Number of new exposures that are written down at once.", NULL,
							&ff_exposure_flush_count, 100, 1, INT_MAX, PGC_SIGHUP, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("ff.exposure_retention",
							"How long the rows of ff.exposures are kept; 0 is for ever.",
							"What is derived of them stays.", &ff_exposure_retention,
							90 * SECS_PER_DAY, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
							NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomIntVariable("ff.exposure_buffer_size",
							"Shared memory for exposures that are not written down yet.",
							"An exposure of usual length takes 160 bytes.",
							&ff_exposure_buffer_size, 32768, 1024, MAX_KILOBYTES, PGC_POSTMASTER,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("ff.max_databases", "Databases whose exposures are recorded.", NULL,
							&ff_max_databases, 64, 1, 1000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	define_settings();
	define_exposure_settings();
	MarkGUCPrefixReserved("ff");
	ff_stamp_init();
	ff_event_init();
	ff_shmem_init();
	ff_note_init();
	ff_flush_init();
	ff_launcher_init();
}
