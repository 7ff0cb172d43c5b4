/*
 * src/ff.c
 *	  Loading of the module: settings and callbacks, and nothing else.
 */
#include "ff_stamp.h"

#include "commands/extension.h"
#include "utils/guc.h"

FF_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

char *ff_namespace = NULL;
uint64 ff_namespace_changes = 0;
int ff_cache_size = 16384;

/* Call sites compare the count instead of the string. */
static void
assign_namespace(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	ff_namespace_changes++;
}

void
_PG_init(void)
{
	DefineCustomStringVariable("ff.namespace",
							   "Namespace of flags that functions use when none is named.", NULL,
							   &ff_namespace, "default", PGC_USERSET, 0, NULL, assign_namespace,
							   NULL);
	DefineCustomIntVariable("ff.cache_size", "Memory for compiled flags in each session.",
							"What was not used for longest goes first. Flags in use are kept "
							"whatever they take.",
							&ff_cache_size, 16384, 256, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("ff");
	ff_stamp_init();
}
