/*
 * src/ff_buffer.c
 *	  The exposure buffer; what it promises is in ff_buffer.h.
 *
 * Slots are named by number, in all partitions together: shared memory may lie elsewhere in another
 * process.
 */
#include "ff_buffer.h"
#include "ff_buffer_private.h"

#include "miscadmin.h"
#include "utils/memutils.h"

int ff_exposure_flush_count = 100;

StaticAssertDecl(sizeof(FfSlot) == 160 && sizeof(FfSlotMore) == 160, "slots are of one size");

static inline FfPartition *
partition_at(int i)
{
	return (FfPartition *) (ff_buffer->partitions + (Size) i * ff_buffer->partition_size);
}

static inline FfCell *
cell_at(FfPartition *partition, int database)
{
	return &partition->cells[database];
}

static inline int
partition_of(uint64 hash)
{
	return (int) (hash >> 32) & (FF_PARTITIONS - 1);
}

static inline uint32 *
bucket_of(int partition, uint64 hash)
{
	return &ff_buffer->buckets[(Size) partition * ff_buffer->buckets_each +
							   ((uint32) hash & (ff_buffer->buckets_each - 1))];
}

FfSlot *
ff_buffer_slot(uint32 slot)
{
	return &ff_buffer->slots[slot];
}

static inline FfSlotMore *
more_at(uint32 slot)
{
	return (FfSlotMore *) &ff_buffer->slots[slot];
}

/* Bytes of an exposure's text that tell it from others. */
static inline uint32
identity_len(const FfExposure *exposure)
{
	return (uint32) exposure->head_len + exposure->user_len;
}

/* ---------- texts ---------- */

static bool
text_equals(const FfSlot *slot, const char *text, uint32 len)
{
	uint32 part = Min(len, FF_SLOT_TEXT);
	uint32 next = slot->more;

	if (memcmp(slot->text, text, part) != 0)
		return false;
	while ((len -= part) > 0)
	{
		text += part;
		part = Min(len, FF_SLOT_MORE);
		if (memcmp(more_at(next)->text, text, part) != 0)
			return false;
		next = more_at(next)->next;
	}
	return true;
}

void
ff_buffer_text(const FfSlot *slot, char *text)
{
	uint32 len = ff_exposure_len(&slot->exposure);
	uint32 part = Min(len, FF_SLOT_TEXT);
	uint32 next = slot->more;

	memcpy(text, slot->text, part);
	while ((len -= part) > 0)
	{
		text += part;
		part = Min(len, FF_SLOT_MORE);
		memcpy(text, more_at(next)->text, part);
		next = more_at(next)->next;
	}
}

/* ---------- slots ---------- */

static uint32
take_slot(FfPartition *partition)
{
	uint32 slot = partition->free;

	if (slot == FF_NO_SLOT)
		slot = partition->untouched++;
	else
		partition->free = ff_buffer_slot(slot)->next;
	partition->free_count--;
	return slot;
}

static void
give_slot(FfPartition *partition, uint32 slot)
{
	ff_buffer_slot(slot)->next = partition->free;
	partition->free = slot;
	partition->free_count++;
}

static uint32
slots_needed(uint32 len)
{
	return len <= FF_SLOT_TEXT ? 1 : 1 + (len - FF_SLOT_TEXT + FF_SLOT_MORE - 1) / FF_SLOT_MORE;
}

/* Makes a slot that holds a text. There must be room. */
static uint32
make_slot(FfPartition *partition, const char *text, uint32 len)
{
	uint32 number = take_slot(partition);
	uint32 part = Min(len, FF_SLOT_TEXT);
	uint32 *link = &ff_buffer_slot(number)->more;

	memcpy(ff_buffer_slot(number)->text, text, part);
	while ((len -= part) > 0)
	{
		text += part;
		part = Min(len, FF_SLOT_MORE);
		*link = take_slot(partition);
		memcpy(more_at(*link)->text, text, part);
		link = &more_at(*link)->next;
	}
	*link = FF_NO_SLOT;
	return number;
}

static void
append(FfSlotList *list, uint32 slot)
{
	ff_buffer_slot(slot)->after = FF_NO_SLOT;
	if (list->first == FF_NO_SLOT)
		list->first = slot;
	else
		ff_buffer_slot(list->last)->after = slot;
	list->last = slot;
}

/* Takes a slot out of its bucket, and frees it. It must be in no list. */
static void
free_slot(FfPartition *partition, int number, uint32 slot)
{
	uint32 *link = bucket_of(number, ff_buffer_slot(slot)->exposure.hash);
	uint32 more = ff_buffer_slot(slot)->more;

	while (*link != slot)
		link = &ff_buffer_slot(*link)->next;
	*link = ff_buffer_slot(slot)->next;
	while (more != FF_NO_SLOT)
	{
		uint32 next = more_at(more)->next;

		give_slot(partition, more);
		more = next;
	}
	give_slot(partition, slot);
}

/* ---------- noting ---------- */

static FfSlot *
find_entry(int number, const FfCell *cell, int database, const FfExposure *exposure,
		   const char *text)
{
	for (uint32 slot = *bucket_of(number, exposure->hash); slot != FF_NO_SLOT;)
	{
		FfSlot *entry = ff_buffer_slot(slot);

		if (entry->exposure.hash == exposure->hash && entry->database == database &&
			entry->window == cell->window && entry->exposure.head_len == exposure->head_len &&
			entry->exposure.user_len == exposure->user_len &&
			text_equals(entry, text, identity_len(exposure)))
			return entry;
		slot = entry->next;
	}
	return NULL;
}

static void
make_entry(FfPartition *partition, int number, FfCell *cell, int database,
		   const FfExposure *exposure, const char *text)
{
	uint32 *bucket = bucket_of(number, exposure->hash);
	uint32 slot = make_slot(partition, text, ff_exposure_len(exposure));
	FfSlot *entry = ff_buffer_slot(slot);

	entry->exposure = *exposure;
	entry->window = cell->window;
	entry->database = (uint16) database;
	entry->attempts = 0;
	entry->flush = 0;
	entry->next = *bucket;
	*bucket = slot;
	append(&cell->fresh, slot);
	cell->entries++;
}

/* Whether a new entry was made. */
static bool
add_one(FfPartition *partition, int number, int database, const FfExposure *exposure,
		const char *text)
{
	FfCell *cell = cell_at(partition, database);
	FfSlot *entry = find_entry(number, cell, database, exposure, text);

	cell->noted += exposure->count;
	if (entry != NULL)
		entry->exposure.count += exposure->count;
	else if (partition->free_count >= slots_needed(ff_exposure_len(exposure)))
		make_entry(partition, number, cell, database, exposure, text);
	else
	{
		cell->dropped += exposure->count;
		return false;
	}
	cell->buffered += exposure->count;
	return entry == NULL;
}

/* Tells the worker when there is enough for it to do, once for each time that it drains. */
static void
count_fresh(FfDatabase *database, uint32 made)
{
	uint32 fresh = pg_atomic_add_fetch_u32(&database->fresh, made);
	uint32 asleep = 0;

	if (fresh >= (uint32) ff_exposure_flush_count && pg_atomic_read_u32(&database->is_woken) == 0 &&
		pg_atomic_compare_exchange_u32(&database->is_woken, &asleep, 1) && database->latch != NULL)
		SetLatch(database->latch);
}

/* Adds the exposures of a batch that belong to one partition, under one lock. */
static void
add_to_partition(FfDatabase *database, int number, const FfExposure *const *exposures,
				 const char *const *texts, const uint16 *which, int count)
{
	FfPartition *partition = partition_at(number);
	int place = ff_database_number(database);
	uint32 made = 0;

	LWLockAcquire(partition->lock, LW_EXCLUSIVE);

	/* who releases a database first takes its name away, and then looks into each partition */
	if (likely(database->oid == MyDatabaseId))
	{
		for (int i = 0; i < count; i++)
			made += add_one(partition, number, place, exposures[which[i]], texts[which[i]]);
	}
	LWLockRelease(partition->lock);
	if (made > 0)
		count_fresh(database, made);
}

/* Sorts a batch by partition: those of partition p are at which[ends[p - 1]] to which[ends[p]]. */
static void
sort_batch(const FfExposure *const *exposures, int count, uint16 *which, uint16 *ends)
{
	memset(ends, 0, sizeof(uint16) * FF_PARTITIONS);
	for (int i = 0; i < count; i++)
		ends[partition_of(exposures[i]->hash)]++;
	for (int p = 1; p < FF_PARTITIONS; p++)
		ends[p] += ends[p - 1];
	for (int i = count - 1; i >= 0; i--)
	{
		int p = partition_of(exposures[i]->hash);

		which[--ends[p]] = (uint16) i;
		__builtin_prefetch(bucket_of(p, exposures[i]->hash));
	}

	/* where each began is where the one before it ends */
	memmove(ends, ends + 1, sizeof(uint16) * (FF_PARTITIONS - 1));
	ends[FF_PARTITIONS - 1] = (uint16) count;
}

void
ff_buffer_add(const FfExposure *const *exposures, const char *const *texts, int count)
{
	FfDatabase *database = ff_own_database();
	uint16 which[FF_BATCH];
	uint16 ends[FF_PARTITIONS];

	Assert(count <= FF_BATCH);
	if (database == NULL)
		return;
	sort_batch(exposures, count, which, ends);
	for (int p = 0; p < FF_PARTITIONS; p++)
	{
		int begin = p == 0 ? 0 : ends[p - 1];

		if (ends[p] > begin)
			add_to_partition(database, p, exposures, texts, which + begin, ends[p] - begin);
	}
}

/* Nobody else is there yet. */
void
ff_buffer_load(FfDatabase *database, const FfExposure *exposure, const char *text)
{
	int number = partition_of(exposure->hash);

	(void) add_one(partition_at(number), number, ff_database_number(database), exposure, text);
}

void
ff_buffer_refuse(uint64 hash)
{
	FfDatabase *database = ff_own_database();
	FfPartition *partition = partition_at(partition_of(hash));

	if (database == NULL)
		return;
	LWLockAcquire(partition->lock, LW_EXCLUSIVE);
	if (likely(database->oid == MyDatabaseId))
		cell_at(partition, ff_database_number(database))->refused++;
	LWLockRelease(partition->lock);
}

/* ---------- writing down ---------- */

/* The entries of this window are drained, too, from now on. */
static void
end_window(FfCell *cell)
{
	if (cell->fresh.first == FF_NO_SLOT)
		return;
	if (cell->drained.first == FF_NO_SLOT)
		cell->drained = cell->fresh;
	else
	{
		ff_buffer_slot(cell->drained.last)->after = cell->fresh.first;
		cell->drained.last = cell->fresh.last;
	}
	cell->fresh.first = cell->fresh.last = FF_NO_SLOT;
	cell->window++;
}

/* Nobody but us changes what is drained: it is read without the lock. */
uint32 *
ff_buffer_drain(int database, bool with_failed, uint32 *count)
{
	uint32 capacity = 1024;
	uint32 *slots = palloc(sizeof(uint32) * capacity);

	*count = 0;
	pg_atomic_write_u32(&ff_database(database)->fresh, 0);
	pg_atomic_write_u32(&ff_database(database)->is_woken, 0);
	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		FfPartition *partition = partition_at(number);
		uint32 slot;

		LWLockAcquire(partition->lock, LW_EXCLUSIVE);
		end_window(cell_at(partition, database));
		slot = cell_at(partition, database)->drained.first;
		LWLockRelease(partition->lock);
		for (; slot != FF_NO_SLOT; slot = ff_buffer_slot(slot)->after)
		{
			if (ff_buffer_slot(slot)->attempts > 0 && !with_failed)
				continue;
			if (*count == capacity)
				slots = repalloc_huge(slots, sizeof(uint32) * (Size) (capacity *= 2));
			slots[(*count)++] = slot;
		}
	}
	return slots;
}

typedef bool (*FfChoice)(const FfSlot *slot, uint32 flush);

#define FF_FREED_AT_ONCE 64

/*
 * Looks through some of the drained slots of a partition, those after *before, and frees the ones
 * chosen: under one lock, and so few that nobody waits for long. They count as flushed by a flush,
 * or with flush 0 as dropped. Sets *before to where to go on; false at the end.
 */
static bool
free_some(int number, int database, uint32 *before, FfChoice choose, uint32 flush, int64 *freed)
{
	FfPartition *partition = partition_at(number);
	FfCell *cell = cell_at(partition, database);
	uint32 slot;

	LWLockAcquire(partition->lock, LW_EXCLUSIVE);
	for (int i = 0; i < FF_FREED_AT_ONCE; i++)
	{
		uint32 *link =
			*before == FF_NO_SLOT ? &cell->drained.first : &ff_buffer_slot(*before)->after;

		slot = *link;
		if (slot == FF_NO_SLOT)
			break;
		if (!choose(ff_buffer_slot(slot), flush))
		{
			*before = slot;
			continue;
		}
		*link = ff_buffer_slot(slot)->after;
		if (cell->drained.last == slot)
			cell->drained.last = *before;
		cell->entries--;
		cell->buffered -= ff_buffer_slot(slot)->exposure.count;
		*freed += ff_buffer_slot(slot)->exposure.count;
		*(flush > 0 ? &cell->flushed : &cell->dropped) += ff_buffer_slot(slot)->exposure.count;
		free_slot(partition, number, slot);
	}
	LWLockRelease(partition->lock);
	return slot != FF_NO_SLOT;
}

static int64
free_all(int database, FfChoice choose, uint32 flush)
{
	int64 freed = 0;

	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		uint32 before = FF_NO_SLOT;

		while (free_some(number, database, &before, choose, flush, &freed))
			;
	}
	return freed;
}

static bool
was_written(const FfSlot *slot, uint32 flush)
{
	return slot->flush == flush;
}

static bool
has_failed_too_often(const FfSlot *slot, uint32 flush)
{
	(void) flush;
	return slot->attempts >= FF_MAX_ATTEMPTS;
}

static bool
is_any(const FfSlot *slot, uint32 flush)
{
	(void) slot;
	(void) flush;
	return true;
}

void
ff_buffer_finish(int database, uint32 flush)
{
	(void) free_all(database, was_written, flush);
}

int64
ff_buffer_give_up(int database)
{
	return free_all(database, has_failed_too_often, 0);
}

void
ff_buffer_clear(int database)
{
	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		FfPartition *partition = partition_at(number);

		LWLockAcquire(partition->lock, LW_EXCLUSIVE);
		end_window(cell_at(partition, database));
		LWLockRelease(partition->lock);
	}
	(void) free_all(database, is_any, 0);
	for (int number = 0; number < FF_PARTITIONS; number++)
		ff_init_cell(cell_at(partition_at(number), database));
}

/* ---------- looking ---------- */

void
ff_buffer_counts(int database, FfExposureCounts *counts)
{
	memset(counts, 0, sizeof(*counts));
	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		FfPartition *partition = partition_at(number);
		const FfCell *cell = cell_at(partition, database);

		LWLockAcquire(partition->lock, LW_SHARED);
		counts->noted += cell->noted;
		counts->flushed += cell->flushed;
		counts->dropped += cell->dropped;
		counts->refused += cell->refused;
		counts->buffered += cell->buffered;
		counts->entries += cell->entries;
		LWLockRelease(partition->lock);
	}
}

typedef struct FfCopy
{
	FfExposure exposure;
	char text[FLEXIBLE_ARRAY_MEMBER];
} FfCopy;

static Size
copy_size(const FfExposure *exposure)
{
	return MAXALIGN(offsetof(FfCopy, text) + ff_exposure_len(exposure));
}

/* Bytes that copies of a list take. */
static Size
list_size(const FfSlotList *list)
{
	Size size = 0;

	for (uint32 slot = list->first; slot != FF_NO_SLOT; slot = ff_buffer_slot(slot)->after)
		size += copy_size(&ff_buffer_slot(slot)->exposure);
	return size;
}

static char *
copy_list(const FfSlotList *list, char *to)
{
	for (uint32 slot = list->first; slot != FF_NO_SLOT; slot = ff_buffer_slot(slot)->after)
	{
		FfCopy *copy = (FfCopy *) to;

		copy->exposure = ff_buffer_slot(slot)->exposure;
		ff_buffer_text(ff_buffer_slot(slot), copy->text);
		to += copy_size(&copy->exposure);
	}
	return to;
}

void
ff_buffer_list(int database, void (*put)(void *arg, const FfExposure *exposure, const char *text),
			   void *arg)
{
	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		FfPartition *partition = partition_at(number);
		const FfCell *cell = cell_at(partition, database);
		char *copies, *end;

		LWLockAcquire(partition->lock, LW_SHARED);
		copies = palloc_extended(list_size(&cell->drained) + list_size(&cell->fresh) + 1,
								 MCXT_ALLOC_HUGE);
		end = copy_list(&cell->fresh, copy_list(&cell->drained, copies));
		LWLockRelease(partition->lock);
		for (char *at = copies; at < end;)
		{
			FfCopy *copy = (FfCopy *) at;

			CHECK_FOR_INTERRUPTS();
			put(arg, &copy->exposure, copy->text);
			at += copy_size(&copy->exposure);
		}
		pfree(copies);
	}
}
