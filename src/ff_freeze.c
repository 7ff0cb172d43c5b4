/*
 * src/ff_freeze.c
 *	  The freeze of a flag while its experiment is active.
 *
 * The rule: who gets which variant stays as it was when the experiment began, or its numbers mean
 * nothing. Whoever wants to change that ends the experiment, or says that he means it
 * (ff.allow_experiment_change). What only adds or removes people, such as traffic and overrides,
 * stays free, and so does the kill switch.
 */
#include "ff_trigger.h"

/* Refuses what is done ("change", "removal") to the place at path. */
static void
refuse(const char *key, const char *path, const char *done)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the experiment of flag \"%s\" is active", key),
					errdetail("%s: its %s would reshuffle users among variants.", path, done),
					errhint("End it with \"experiment\": {\"active\": false}, in the same change "
							"or before, or SET ff.allow_experiment_change = on.")));
}

/* ---------- members ---------- */

/* A member of the flag, null where the row has none. An empty list is none, too. */
static ffe_node
read_member(const FfTable *table, const char *name, HeapTuple row, TupleDesc desc)
{
	ffe_node node = {.kind = FFE_NULL};
	bool isnull;
	Datum value = ff_column(table, name, row, desc, &isnull);

	if (!isnull)
		node = ff_jsonb_node(DatumGetJsonbP(value));
	if (node.kind == FFE_ARRAY && node.len == 0)
		node.kind = FFE_NULL;
	return node;
}

/* The value of a node as a jsonb of its own. */
static Jsonb *
node_value(const ffe_node *node)
{
	size_t size = ff_jsonb_reader.copy(node, NULL, 0);
	Jsonb *value = palloc(size);

	(void) ff_jsonb_reader.copy(node, value, size);
	return value;
}

/* Whether two nodes have the same value, however it is written. */
static bool
same_node(const ffe_node *a, const ffe_node *b)
{
	return a->kind == b->kind &&
		   compareJsonbContainers(&node_value(a)->root, &node_value(b)->root) == 0;
}

static bool
is_active(const FfTable *table, HeapTuple row, TupleDesc desc)
{
	ffe_node experiment = read_member(table, "experiment", row, desc);
	ffe_node active = ff_jsonb_member(&experiment, "active");

	return active.kind == FFE_BOOL && active.u.boolean;
}

/* ---------- bucketing ---------- */

/* A string of bucketing, or what holds without it: to write that down is no change. */
static char *
bucketing_member(const ffe_node *bucketing, const char *name, const char *fallback)
{
	ffe_node node = ff_jsonb_member(bucketing, name);

	return node.kind == FFE_STRING ? pnstrdup(node.u.str, node.len) : pstrdup(fallback);
}

static void
check_bucketing(const char *key, const ffe_node *before, const ffe_node *after)
{
	if (strcmp(bucketing_member(before, "by", "user_id"),
			   bucketing_member(after, "by", "user_id")) != 0)
		refuse(key, "bucketing.by", "change");
	if (strcmp(bucketing_member(before, "salt", key), bucketing_member(after, "salt", key)) != 0)
		refuse(key, "bucketing.salt", "change");
}

/* ---------- rules ---------- */

/* What a rule is known by, and what it serves. */
typedef struct FfRule
{
	ffe_node id;
	uint32 nth; /* without an id: its place among the rules that have none */
	ffe_node serve;
} FfRule;

static FfRule *
read_rules(const ffe_node *list, uint32 *count)
{
	FfRule *rules;
	uint32 unnamed = 0;

	*count = list->kind == FFE_ARRAY ? list->len : 0;
	rules = palloc0(sizeof(FfRule) * (*count + 1));
	for (uint32 i = 0; i < *count; i++)
	{
		ffe_node rule;

		ff_jsonb_reader.element(list, i, &rule);
		rules[i].id = ff_jsonb_member(&rule, "id");
		rules[i].serve = ff_jsonb_member(&rule, "serve");
		if (rules[i].id.kind != FFE_STRING)
			rules[i].nth = unnamed++;
	}
	return rules;
}

static bool
is_same_rule(const FfRule *a, const FfRule *b)
{
	if (a->id.kind != FFE_STRING || b->id.kind != FFE_STRING)
		return a->id.kind != FFE_STRING && b->id.kind != FFE_STRING && a->nth == b->nth;
	return a->id.len == b->id.len && memcmp(a->id.u.str, b->id.u.str, a->id.len) == 0;
}

static const FfRule *
find_rule(const FfRule *rules, uint32 count, const FfRule *wanted)
{
	for (uint32 i = 0; i < count; i++)
	{
		if (is_same_rule(&rules[i], wanted))
			return &rules[i];
	}
	return NULL;
}

/* A rule that is gone is named by the place that it had, any other by the one that it has. */
static void
check_rules(const char *key, const ffe_node *before, const ffe_node *after)
{
	uint32 old_count, new_count;
	FfRule *old = read_rules(before, &old_count);
	FfRule *new = read_rules(after, &new_count);

	for (uint32 i = 0; i < old_count; i++)
	{
		const FfRule *now = find_rule(new, new_count, &old[i]);

		if (now == NULL && old[i].serve.kind == FFE_ARRAY)
			refuse(key, psprintf("rules[%u]", i), "removal");
		if (now != NULL && !same_node(&old[i].serve, &now->serve))
			refuse(key, psprintf("rules[%u].serve", (uint32) (now - new)), "change");
	}
}

/* ---------- the whole ---------- */

void
ff_check_freeze(const FfTable *table, HeapTuple before, HeapTuple after, TupleDesc desc)
{
	static const char *const members[] = {"variants",  "default_value", "rollout",
										  "bucketing", "rules",         NULL};
	const char *key;

	if (ff_allow_experiment_change || !is_active(table, before, desc) ||
		!is_active(table, after, desc))
		return;
	key = ff_row_key(table, before, desc);
	for (int i = 0; members[i] != NULL; i++)
	{
		ffe_node old = read_member(table, members[i], before, desc);
		ffe_node new = read_member(table, members[i], after, desc);

		if (same_node(&old, &new))
			continue;
		if (strcmp(members[i], "bucketing") == 0)
			check_bucketing(key, &old, &new);
		else if (strcmp(members[i], "rules") == 0)
			check_rules(key, &old, &new);
		else
			refuse(key, members[i], "change");
	}
}
