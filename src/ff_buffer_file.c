/*
 * src/ff_buffer_file.c
 *	  What keeps the exposures over a restart that the last flush didn't write: those noted after
 *it, those that could not be written, and those that are kept in memory.
 *
 * The file is made when the server has ended cleanly, and is gone once it is read: after a crash
 * there is none.
 */
#include "ff_buffer_private.h"

#include <unistd.h>

#include "pgstat.h"
#include "storage/fd.h"

#define BUFFER_FILE PGSTAT_STAT_PERMANENT_DIRECTORY "/ff_exposures.stat"
#define BUFFER_MAGIC 0x66664501 /* grows with the format */

/* A record, which the text follows. */
typedef struct FfRecord
{
	Oid database;
	FfExposure exposure;
} FfRecord;

typedef struct FfWriter
{
	FILE *file;
	Oid database;
	bool ok;
} FfWriter;

static uint32
text_len(const FfExposure *exposure)
{
	return (uint32) exposure->head_len + exposure->user_len + exposure->rule_len;
}

static void
write_record(void *arg, const FfExposure *exposure, const char *text)
{
	FfWriter *writer = arg;
	FfRecord record;

	memset(&record, 0, sizeof(record));
	record.database = writer->database;
	record.exposure = *exposure;
	writer->ok = writer->ok && fwrite(&record, sizeof(record), 1, writer->file) == 1 &&
				 fwrite(text, text_len(exposure), 1, writer->file) == 1;
}

static bool
write_all(FILE *file)
{
	uint32 magic = BUFFER_MAGIC;
	FfWriter writer = {.file = file, .ok = fwrite(&magic, sizeof(magic), 1, file) == 1};

	for (int i = 0; i < ff_max_databases; i++)
	{
		writer.database = ff_database(i)->oid;
		if (OidIsValid(writer.database))
			ff_buffer_list(i, write_record, &writer);
	}
	return writer.ok;
}

static bool
is_empty(void)
{
	for (int i = 0; i < ff_max_databases; i++)
	{
		FfExposureCounts counts;

		ff_buffer_counts(i, &counts);
		if (counts.entries > 0)
			return false;
	}
	return true;
}

void
ff_buffer_save(void)
{
	FILE *file;
	bool ok;

	if (is_empty())
		return;
	file = AllocateFile(BUFFER_FILE ".tmp", PG_BINARY_W);
	ok = file != NULL && write_all(file);
	if (file != NULL && FreeFile(file) != 0)
		ok = false;
	if (ok)
		(void) durable_rename(BUFFER_FILE ".tmp", BUFFER_FILE, LOG);
	else
	{
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not write file \"%s\": %m", BUFFER_FILE ".tmp"),
					  errdetail("Exposures that were not written down are lost.")));
		unlink(BUFFER_FILE ".tmp");
	}
}

static bool
read_record(FILE *file, FfRecord *record, char *text)
{
	return fread(record, sizeof(*record), 1, file) == 1 &&
		   text_len(&record->exposure) <= FF_MAX_EXPOSURE_TEXT &&
		   record->exposure.reason < FFE_REASON_COUNT &&
		   fread(text, text_len(&record->exposure), 1, file) == 1;
}

static void
read_all(FILE *file)
{
	char text[FF_MAX_EXPOSURE_TEXT];
	FfRecord record;
	uint32 magic;

	if (fread(&magic, sizeof(magic), 1, file) != 1 || magic != BUFFER_MAGIC)
		return;
	while (read_record(file, &record, text))
	{
		FfDatabase *database = ff_claim_database(record.database);

		if (database != NULL)
			ff_buffer_load(database, &record.exposure, text);
	}
}

void
ff_buffer_restore(void)
{
	FILE *file = AllocateFile(BUFFER_FILE, PG_BINARY_R);

	if (file == NULL)
		return;
	read_all(file);
	FreeFile(file);
	unlink(BUFFER_FILE);
}
