/*
 * src/ff_lines.c
 *	  The file sink: exposures as JSON, one a line, in a directory of the server's.
 *
 * A file has a day's lines (UTC) of one database, up to a size; then the next one is begun. What
 * can't be written whole is taken back, so that nothing is there twice when it is tried again. A
 * crash can leave a part of a line at the end: such a file is not gone on with, so that its readers
 * can tell, and the next line is not spoilt.
 */
#include "ff_flush.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/json.h"
#include "utils/timestamp.h"

/* Bytes after which lines are written, and synced: what is written is not done again. */
#define LINES_AT_ONCE (1024 * 1024)

char *ff_exposure_directory = NULL;
int ff_exposure_file_size = 65536;

static void
put_time(StringInfo line, TimestampTz time)
{
	struct pg_tm tm;
	fsec_t micros;

	if (timestamp2tm(time, NULL, &tm, &micros, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	appendStringInfo(line, "\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\"", tm.tm_year, tm.tm_mon,
					 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) micros);
}

static void
put_text(StringInfo line, const char *name, const char *value)
{
	appendStringInfo(line, ", \"%s\": ", name);
	if (value == NULL)
		appendStringInfoString(line, "null");
	else
		escape_json(line, value);
}

static void
put_line(StringInfo line, const FfRow *row)
{
	appendStringInfoString(line, "{\"namespace\": ");
	escape_json(line, row->name_space);
	put_text(line, "flag_key", row->flag_key);
	put_text(line, "variant_key", row->variant_key);
	put_text(line, "user_id", row->user_id);
	appendStringInfoString(line, ", \"exposed_at\": ");
	put_time(line, row->exposure->time);
	put_text(line, "reason", ffe_reason_name((ffe_reason) row->exposure->reason));
	put_text(line, "rule_id", row->rule_id);
	appendStringInfo(line, ", \"flag_version\": %s, \"evaluations\": %lld}\n",
					 row->exposure->version == 0
						 ? "null"
						 : psprintf("%lld", (long long) row->exposure->version),
					 (long long) row->exposure->count);
}

/* Whether the last line of a file is cut off. */
static bool
is_cut_off(const char *path, off_t size)
{
	int file = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	char last = '\n';
	ssize_t got;

	if (file < 0)
		return false; /* who wants to write to it will say why */
	got = pg_pread(file, &last, 1, size - 1);
	CloseTransientFile(file);
	return got == 1 && last != '\n';
}

/* Whether more lines may go to a file, which need not be there yet. */
static bool
has_room(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0 || status.st_size == 0)
		return true;
	return status.st_size < (off_t) ff_exposure_file_size * 1024 &&
		   !is_cut_off(path, status.st_size);
}

/* The file that the next lines go to: today's last one, or one after it. */
static char *
choose_file(void)
{
	struct pg_tm tm;
	fsec_t micros;
	char *path = NULL;

	if (ff_exposure_directory[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("there is no directory to write exposures to"),
						errhint("Set ff.exposure_directory, or ff.exposure_sink = 'table'.")));
	(void) timestamp2tm(GetCurrentTimestamp(), NULL, &tm, &micros, NULL, NULL);
	for (int n = 1; path == NULL; n++)
	{
		path = psprintf("%s/exposures-%u-%04d%02d%02d-%d.jsonl", ff_exposure_directory,
						MyDatabaseId, tm.tm_year, tm.tm_mon, tm.tm_mday, n);
		if (!has_room(path))
		{
			pfree(path);
			path = NULL;
		}
	}
	return path;
}

/* Takes back what was written of lines that couldn't be written whole, and says why. */
static void __attribute__((noreturn)) fail(int file, const char *path, off_t length)
{
	int problem = errno == 0 ? ENOSPC : errno;

	if (ftruncate(file, length) != 0)
		ereport(LOG,
				(errcode_for_file_access(), errmsg("could not truncate file \"%s\": %m", path)));
	CloseTransientFile(file);
	errno = problem;
	ereport(ERROR, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", path)));
}

static void
write_all(int file, const char *path, const char *data, size_t size, off_t length)
{
	while (size > 0)
	{
		ssize_t part;

		errno = 0;
		part = write(file, data, size);
		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			fail(file, path, length);
		data += part;
		size -= (size_t) part;
	}
	if (pg_fsync(file) != 0)
		fail(file, path, length);
}

/* Opens a file, and sees to it that it will be there after a crash. Its length so far. */
static int
open_file(const char *path, off_t *length)
{
	struct stat status;
	int file = OpenTransientFilePerm(path, O_WRONLY | O_CREAT | O_APPEND | PG_BINARY, 0600);

	if (file < 0 || fstat(file, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path),
						errhint("ff.exposure_directory must be a directory that the server can "
								"write to.")));
	*length = status.st_size;
	if (*length == 0)
		(void) fsync_fname_ext(ff_exposure_directory, true, false, ERROR);
	return file;
}

/* After the lines are synced nothing may fail: they would be written again. */
static void
append_to_file(const char *path, const StringInfoData *lines)
{
	off_t length;
	int file = open_file(path, &length);

	write_all(file, path, lines->data, (size_t) lines->len, length);
	if (CloseTransientFile(file) != 0)
		ereport(LOG, (errcode_for_file_access(), errmsg("could not close file \"%s\": %m", path)));
}

uint32
ff_write_lines(const FfRow *rows, uint32 count)
{
	StringInfoData lines;
	uint32 i = 0;

	initStringInfo(&lines);
	while (i < count && lines.len < LINES_AT_ONCE)
		put_line(&lines, &rows[i++]);
	append_to_file(choose_file(), &lines);
	pfree(lines.data);
	return i;
}
