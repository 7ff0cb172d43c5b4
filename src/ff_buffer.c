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

/* The place that a tag belongs to, or the one that is so many steps after it. */
static inline FfPlace *
place_at(int partition, uint32 tag, uint32 steps)
{
	return &ff_buffer->places[(Size) partition * ff_buffer->places_each +
							  ((tag + steps) & (ff_buffer->places_each - 1))];
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

/* All of a slot that will be written to. */
static inline void
fetch_slot(uint32 slot)
{
	const char *at = (const char *) ff_buffer_slot(slot);

	for (Size i = 0; i < sizeof(FfSlot); i += PG_CACHE_LINE_SIZE / 2)
		__builtin_prefetch(at + i, 1);
}

static uint32
take_slot(FfPartition *partition)
{
	uint32 slot = partition->free;

	if (slot == FF_NO_SLOT)
		slot = partition->untouched++;
	else
	{
		partition->free = ff_buffer_slot(slot)->next;
		if (partition->free != FF_NO_SLOT)
			fetch_slot(partition->free);
	}
	partition->free_count--;
	return slot;
}

static void
give_slot(FfPartition *partition, uint32 slot)
{
	ff_buffer_slot(slot)->next = partition->free;
	partition->free = slot;
	if (++partition->free_count < ff_buffer->slots_each)
		return;

	/* all of them are free: they are taken in the order that they lie in again */
	partition->free = FF_NO_SLOT;
	partition->untouched = partition->first;
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

/*
 * Frees a place of the table. Of the places after it, up to the next free one, those that would not
 * be found any more are moved up.
 */
static void
free_place(int number, uint32 tag, uint32 slot)
{
	uint32 mask = ff_buffer->places_each - 1;
	uint32 hole = tag;

	while (place_at(number, hole, 0)->slot != slot)
		hole++;
	for (uint32 at = hole + 1; place_at(number, at, 0)->slot != FF_NO_SLOT; at++)
	{
		FfPlace *place = place_at(number, at, 0);

		/* it belongs behind the hole, where its way from home is shorter than from the hole */
		if (((at - place->tag) & mask) < ((at - hole) & mask))
			continue;
		*place_at(number, hole, 0) = *place;
		hole = at;
	}
	place_at(number, hole, 0)->slot = FF_NO_SLOT;
}

/* Takes a slot out of the table, and frees it. It must be in no list. */
static void
free_slot(FfPartition *partition, int number, uint32 slot)
{
	uint32 more = ff_buffer_slot(slot)->more;

	free_place(number, (uint32) ff_buffer_slot(slot)->exposure.hash, slot);
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
	const FfPlace *place;

	for (uint32 steps = 0;
		 (place = place_at(number, (uint32) exposure->hash, steps))->slot != FF_NO_SLOT; steps++)
	{
		FfSlot *entry = ff_buffer_slot(place->slot);

		if (place->tag == (uint32) exposure->hash && entry->exposure.hash == exposure->hash &&
			entry->database == database && entry->window == cell->window &&
			entry->exposure.head_len == exposure->head_len &&
			entry->exposure.user_len == exposure->user_len &&
			entry->exposure.started == exposure->started &&
			entry->exposure.exposed == exposure->exposed &&
			text_equals(entry, text, identity_len(exposure)))
			return entry;
	}
	return NULL;
}

static void
put_place(int number, uint32 tag, uint32 slot)
{
	FfPlace *place;
	uint32 steps = 0;

	while ((place = place_at(number, tag, steps))->slot != FF_NO_SLOT)
		steps++;
	place->tag = tag;
	place->slot = slot;
}

static void
make_entry(FfPartition *partition, int number, FfCell *cell, int database,
		   const FfExposure *exposure, const char *text)
{
	uint32 slot = make_slot(partition, text, ff_exposure_len(exposure));
	FfSlot *entry = ff_buffer_slot(slot);

	entry->exposure = *exposure;
	entry->window = cell->window;
	entry->database = (uint16) database;
	entry->attempts = 0;
	entry->flush = 0;
	put_place(number, (uint32) exposure->hash, slot);
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
		pg_atomic_compare_exchange_u32(&database->is_woken, &asleep, 1))
	{
		/* read once: a worker that leaves takes it away without waiting for us */
		Latch *latch = *(Latch *volatile *) &database->latch;

		if (latch != NULL)
			SetLatch(latch);
	}
}

/*
 * Adds the exposures of a batch that belong to one partition, under one lock. False: somebody has
 * it, and we are not to wait.
 */
static bool
add_to_partition(FfDatabase *database, int number, const FfNote *const *notes, const uint16 *which,
				 int count, bool wait)
{
	FfPartition *partition = partition_at(number);
	int place = ff_database_number(database);
	uint32 made = 0;

	if (!LWLockConditionalAcquire(partition->lock, LW_EXCLUSIVE))
	{
		if (!wait)
			return false;
		LWLockAcquire(partition->lock, LW_EXCLUSIVE);
	}

	/* who releases a database first takes its name away, and then looks into each partition */
	if (likely(database->oid == MyDatabaseId))
	{
		for (int i = 0; i < count; i++)
			made += add_one(partition, number, place, &notes[which[i]]->exposure,
							notes[which[i]]->text);
	}
	LWLockRelease(partition->lock);
	if (made > 0)
		count_fresh(database, made);
	return true;
}

/* Sorts a batch by partition: those of partition p are at which[ends[p - 1]] to which[ends[p]]. */
static void
sort_batch(const FfNote *const *notes, int count, uint16 *which, uint16 *ends)
{
	memset(ends, 0, sizeof(uint16) * FF_PARTITIONS);
	for (int i = 0; i < count; i++)
		ends[partition_of(notes[i]->exposure.hash)]++;
	for (int p = 1; p < FF_PARTITIONS; p++)
		ends[p] += ends[p - 1];
	for (int i = count - 1; i >= 0; i--)
	{
		int p = partition_of(notes[i]->exposure.hash);

		which[--ends[p]] = (uint16) i;
		__builtin_prefetch(place_at(p, (uint32) notes[i]->exposure.hash, 0), 1);
	}

	/* where each began is where the one before it ends */
	memmove(ends, ends + 1, sizeof(uint16) * (FF_PARTITIONS - 1));
	ends[FF_PARTITIONS - 1] = (uint16) count;
}

/* Moves those of the partitions whose bits are set to the front. Returns how many they are. */
static int
left_over(const FfNote **notes, int count, uint32 partitions)
{
	int left = 0;

	if (partitions == 0)
		return 0;
	for (int i = 0; i < count; i++)
	{
		if (partitions & (UINT32_C(1) << partition_of(notes[i]->exposure.hash)))
			notes[left++] = notes[i];
	}
	return left;
}

StaticAssertDecl(FF_PARTITIONS <= 32, "each partition has a bit");

int
ff_buffer_add(const FfNote **notes, int count, bool wait)
{
	FfDatabase *database = ff_own_database();
	uint16 which[FF_BATCH];
	uint16 ends[FF_PARTITIONS];
	uint32 busy = 0;

	Assert(count <= FF_BATCH);
	if (database == NULL)
		return 0;
	sort_batch(notes, count, which, ends);
	for (int pass = 0; pass < (wait ? 2 : 1); pass++)
	{
		uint32 left = pass == 0 ? UINT32_MAX : busy;

		for (int p = 0; p < FF_PARTITIONS; p++)
		{
			int begin = p == 0 ? 0 : ends[p - 1];

			if (ends[p] == begin || (left & (UINT32_C(1) << p)) == 0)
				continue;
			if (!add_to_partition(database, p, notes, which + begin, ends[p] - begin, pass > 0))
				busy |= UINT32_C(1) << p;
		}
	}
	return wait ? 0 : left_over(notes, count, busy);
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

/*
 * Nobody but us changes what is drained, unless the place is released: so it is read pinned, and
 * without the partition's lock. Pinned for no longer than one partition takes.
 */
void
ff_buffer_drain(const FfClaim *claim, FfTake take, void *arg)
{
	int database = ff_database_number(claim->database);

	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		FfPartition *partition = partition_at(number);
		uint32 slot;

		if (!ff_pin(claim))
			return;
		if (number == 0)
		{
			pg_atomic_write_u32(&claim->database->fresh, 0);
			pg_atomic_write_u32(&claim->database->is_woken, 0);
		}
		LWLockAcquire(partition->lock, LW_EXCLUSIVE);
		end_window(cell_at(partition, database));
		slot = cell_at(partition, database)->drained.first;
		LWLockRelease(partition->lock);
		for (; slot != FF_NO_SLOT; slot = ff_buffer_slot(slot)->after)
			take(arg, slot, ff_buffer_slot(slot));
		ff_unpin();
	}
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
free_of_partition(int number, int database, FfChoice choose, uint32 flush)
{
	uint32 before = FF_NO_SLOT;
	int64 freed = 0;

	while (free_some(number, database, &before, choose, flush, &freed))
		;
	return freed;
}

/* Frees slots of a place, as long as it is the claimant's. */
static int64
free_claimed(const FfClaim *claim, FfChoice choose, uint32 flush)
{
	int64 freed = 0;

	for (int number = 0; number < FF_PARTITIONS; number++)
	{
		if (!ff_pin(claim))
			break;
		freed += free_of_partition(number, ff_database_number(claim->database), choose, flush);
		ff_unpin();
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
ff_buffer_finish(const FfClaim *claim, uint32 flush)
{
	(void) free_claimed(claim, was_written, flush);
}

int64
ff_buffer_give_up(const FfClaim *claim)
{
	return free_claimed(claim, has_failed_too_often, 0);
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
		(void) free_of_partition(number, database, is_any, 0);
		LWLockAcquire(partition->lock, LW_EXCLUSIVE);
		ff_init_cell(cell_at(partition, database));
		LWLockRelease(partition->lock);
	}
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

static Size
copy_size(const FfExposure *exposure)
{
	return MAXALIGN(offsetof(FfNote, text) + ff_exposure_len(exposure));
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
		FfNote *copy = (FfNote *) to;

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

		/* the place was released, and may be another's: as in add_to_partition */
		if (OidIsValid(MyDatabaseId) && ff_database(database)->oid != MyDatabaseId)
		{
			LWLockRelease(partition->lock);
			return;
		}
		copies = palloc_extended(list_size(&cell->drained) + list_size(&cell->fresh) + 1,
								 MCXT_ALLOC_HUGE);
		end = copy_list(&cell->fresh, copy_list(&cell->drained, copies));
		LWLockRelease(partition->lock);
		for (char *at = copies; at < end;)
		{
			FfNote *copy = (FfNote *) at;

			CHECK_FOR_INTERRUPTS();
			put(arg, &copy->exposure, copy->text);
			at += copy_size(&copy->exposure);
		}
		pfree(copies);
	}
}
