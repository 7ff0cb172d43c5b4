/*
 * src/ff_buffer_file.c
 *	  What keeps exposures over a restart that were not flushed: those noted after the last flush,
 *	  those that could not be written, and those that are kept in memory.
 *
 * How such a file comes and goes is in ff_shmem.h.
 */
#include "ff_buffer_private.h"
#include "ff_shmem.h"

#include "pgstat.h"

#define BUFFER_FILE PGSTAT_STAT_PERMANENT_DIRECTORY "/ff_exposures.stat"
#define BUFFER_MAGIC 0x66664502 /* grows with the format */

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

static void
write_record(void *arg, const FfExposure *exposure, const char *text)
{
	FfWriter *writer = arg;
	FfRecord record;

	memset(&record, 0, sizeof(record));
	record.database = writer->database;
	record.exposure = *exposure;
	writer->ok = writer->ok && fwrite(&record, sizeof(record), 1, writer->file) == 1 &&
				 fwrite(text, ff_exposure_len(exposure), 1, writer->file) == 1;
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
	if (!is_empty())
		ff_save_file(BUFFER_FILE, write_all, "Exposures that were not written down are lost.");
}

static bool
read_record(FILE *file, FfRecord *record, char *text)
{
	return fread(record, sizeof(*record), 1, file) == 1 &&
		   ff_exposure_len(&record->exposure) <= FF_MAX_EXPOSURE_TEXT &&
		   record->exposure.reason < FFE_REASON_COUNT && record->exposure.exposed <= 1 &&
		   fread(text, ff_exposure_len(&record->exposure), 1, file) == 1;
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
	ff_restore_file(BUFFER_FILE, read_all);
}
