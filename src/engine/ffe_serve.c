/*
 * src/engine/ffe_serve.c
 *	  Compiling what decides who gets which variant: overrides, rules, splits, prerequisites,
 *	  experiments.
 *
 * The rule: shares of a split are cumulative thresholds in array order, in thousandths of a
 * percent, so that a share that grows keeps everybody it had.
 */
#include "ffe_build.h"

/* ---------- lists of users ---------- */

bool
ffe_add_users(ffe_builder *b, ffe_table *table, const ffe_node *users, int32_t tag,
			  const char *where)
{
	int32_t found;

	for (uint32_t i = 0; i < users->len; i++)
	{
		size_t mark = ffe_enter_element(b, i);
		ffe_node user;

		b->reader->element(users, i, &user);
		if (user.kind != FFE_STRING || user.len == 0)
			return ffe_refuse_kind(b, "a user id (a string that is not empty)", &user);
		if (!ffe_table_add(b, table, &user, false, tag, &found))
			return false;
		if (found != tag)
			return ffe_refuse(b, NULL, "user \"%.*s\" is in %s too",
							  ffe_cut(user.u.str, user.len, 60), user.u.str, where);
		ffe_leave(b, mark);
	}
	return true;
}

/* One {"variant", "users"} of overrides; counts only, where table is NULL. */
static bool
read_override(ffe_builder *b, const ffe_node *override, ffe_table *table, uint32_t *count)
{
	static const char *const members[] = {"variant", "users", NULL};
	ffe_node users;
	int32_t variant;
	size_t mark;

	if (override->kind != FFE_OBJECT)
		return ffe_refuse_kind(b, "an object with variant and users", override);
	if (!ffe_check_members(b, override, members) ||
		!ffe_take_variant(b, override, "variant", &variant) ||
		!ffe_take(b, override, "users", FFE_IS(FFE_ARRAY), true, &users))
		return false;
	mark = ffe_enter_member(b, "users", 5);
	if (users.len == 0)
		return ffe_refuse_kind(b, "at least one user", &users);
	if (table != NULL && !ffe_add_users(b, table, &users, variant, "the list of another variant"))
		return false;
	ffe_leave(b, mark);
	*count = users.len > FFE_MAX_LIST - *count ? FFE_MAX_LIST + 1 : *count + users.len;
	return true;
}

bool
ffe_compile_overrides(ffe_builder *b, const ffe_node *root)
{
	ffe_table table;
	ffe_node list, override;
	uint32_t count = 0, again = 0;
	size_t mark;

	if (!ffe_take(b, root, "overrides", FFE_IS(FFE_ARRAY), false, &list))
		return false;
	if (list.kind == FFE_MISSING || list.len == 0)
		return true;
	mark = ffe_enter_member(b, "overrides", 9);
	if (list.len > FFE_MAX_VARIANTS)
		return ffe_refuse_limit(b, "override lists", list.len, FFE_MAX_VARIANTS);
	for (int pass = 0; pass < 2; pass++)
	{
		if (pass == 1 && !ffe_table_make(b, count, &table))
			return false;
		for (uint32_t i = 0; i < list.len; i++)
		{
			size_t inner = ffe_enter_element(b, i);

			b->reader->element(&list, i, &override);
			if (!read_override(b, &override, pass == 0 ? NULL : &table,
							   pass == 0 ? &count : &again))
				return false;
			ffe_leave(b, inner);
		}
	}
	ffe_leave(b, mark);
	ffe_header(b)->users = table;
	ffe_header(b)->reads_context = true;
	return true;
}

/* ---------- splits, rules, prerequisites ---------- */

/* An array of {"variant", "weight"} at the present path. */
static bool
read_split(ffe_builder *b, const ffe_node *list, ffe_ref *out)
{
	static const char *const members[] = {"variant", "weight", NULL};
	uint32_t sum = 0;
	uint32_t off;

	if (list->len > FFE_MAX_VARIANTS)
		return ffe_refuse_limit(b, "variants", list->len, FFE_MAX_VARIANTS);
	if (!ffe_block_reserve(b, sizeof(ffe_share) * list->len, &off))
		return false;
	for (uint32_t i = 0; i < list->len; i++)
	{
		size_t mark = ffe_enter_element(b, i);
		ffe_share share;
		ffe_node node, weight_node;
		uint32_t weight;
		size_t inner;

		b->reader->element(list, i, &node);
		if (node.kind != FFE_OBJECT)
			return ffe_refuse_kind(b, "an object with variant and weight", &node);
		if (!ffe_check_members(b, &node, members) ||
			!ffe_take_variant(b, &node, "variant", &share.variant) ||
			!ffe_take(b, &node, "weight", FFE_IS(FFE_NUMBER), true, &weight_node))
			return false;
		inner = ffe_enter_member(b, "weight", 6);
		if (!ffe_read_weight(b, &weight_node, &weight))
			return false;
		sum += weight;
		if (sum > 100000)
			return ffe_refuse(b, "Weights are percentages and sum to 100 at most.",
							  "weights sum to %u.%03u up to here", sum / 1000, sum % 1000);
		ffe_leave(b, inner);
		share.upto = sum;
		memcpy(b->block.data + off + sizeof(share) * i, &share, sizeof(share));
		ffe_leave(b, mark);
	}
	out->off = off;
	out->len = list->len;
	ffe_header(b)->reads_context = true;
	return true;
}

static bool
read_serve(ffe_builder *b, const ffe_node *node, ffe_rule *rule)
{
	ffe_node serve;
	size_t mark;

	rule->variant = -1;
	if (!ffe_take(b, node, "serve", FFE_IS(FFE_STRING) | FFE_IS(FFE_ARRAY), true, &serve))
		return false;
	if (serve.kind == FFE_STRING)
		return ffe_take_variant(b, node, "serve", &rule->variant);
	mark = ffe_enter_member(b, "serve", 5);
	if (serve.len == 0)
		return ffe_refuse_kind(b, "at least one variant", &serve);
	if (!read_split(b, &serve, &rule->split))
		return false;
	ffe_leave(b, mark);
	return true;
}

/* The id of a rule, which no earlier rule may have. */
static bool
read_rule_id(ffe_builder *b, const ffe_node *node, ffe_rule *rule)
{
	ffe_node id;

	if (!ffe_take_key(b, node, "id", false, &id))
		return false;
	if (id.kind == FFE_MISSING)
		return true;
	for (uint32_t i = 0; i < b->rules.count; i++)
	{
		if (ffe_compare_names(ffe_header(b), FFE_VEC_AT(b->rules, ffe_rule, i)->id, id.u.str,
							  id.len) == 0)
		{
			ffe_enter_member(b, "id", 2);
			return ffe_refuse(b, "Rule ids are unique within a flag.", "rules[%u] has this id too",
							  i);
		}
	}
	return ffe_block_string(b, id.u.str, id.len, &rule->id);
}

static bool
read_rule(ffe_builder *b, const ffe_node *node, uint32_t position)
{
	static const char *const members[] = {"id", "if", "serve", NULL};
	ffe_node condition;
	ffe_rule rule, *added;
	size_t mark;

	memset(&rule, 0, sizeof(rule));
	if (node->kind != FFE_OBJECT)
		return ffe_refuse_kind(b, "a rule (an object with if and serve)", node);
	if (!ffe_check_members(b, node, members) || !read_rule_id(b, node, &rule) ||
		!ffe_take(b, node, "if", FFE_IS(FFE_OBJECT), true, &condition))
		return false;
	mark = ffe_enter_member(b, "if", 2);
	if (!ffe_compile_condition(b, &condition, FFE_IN_RULE, position, &rule.entry))
		return false;
	ffe_leave(b, mark);
	if (!read_serve(b, node, &rule))
		return false;
	added = ffe_append(b, &b->rules);
	if (added == NULL)
		return false;
	*added = rule;
	return true;
}

/* Calls read for each element of an optional array member. */
bool
ffe_each_element(ffe_builder *b, const ffe_node *root, const char *name, uint32_t limit,
				 bool (*read)(ffe_builder *b, const ffe_node *node, uint32_t i))
{
	ffe_node list, node;
	size_t mark;

	if (!ffe_take(b, root, name, FFE_IS(FFE_ARRAY), false, &list))
		return false;
	if (list.kind == FFE_MISSING)
		return true;
	mark = ffe_enter_member(b, name, strlen(name));
	if (list.len > limit)
		return ffe_refuse_limit(b, "elements", list.len, limit);
	for (uint32_t i = 0; i < list.len; i++)
	{
		size_t inner = ffe_enter_element(b, i);

		b->reader->element(&list, i, &node);
		if (!read(b, &node, i))
			return false;
		ffe_leave(b, inner);
	}
	ffe_leave(b, mark);
	return true;
}

bool
ffe_compile_rules(ffe_builder *b, const ffe_node *root)
{
	return ffe_each_element(b, root, "rules", FFE_MAX_RULES, read_rule);
}

/* Prerequisites fill an array that compile_requires has made. */
static bool
read_require(ffe_builder *b, const ffe_node *node, uint32_t i)
{
	static const char *const members[] = {"flag", "variant", NULL};
	ffe_require require;
	ffe_node flag, variant;

	if (node->kind != FFE_OBJECT)
		return ffe_refuse_kind(b, "an object with flag and variant", node);
	if (!ffe_check_members(b, node, members) || !ffe_take_key(b, node, "flag", true, &flag) ||
		!ffe_take_key(b, node, "variant", true, &variant) ||
		!ffe_depend(b, FFE_FLAG, &flag, &require.flag) ||
		!ffe_block_string(b, variant.u.str, variant.len, &require.variant))
		return false;
	memcpy(b->block.data + ffe_header(b)->requires.off + sizeof(require) * i, &require,
		   sizeof(require));
	return true;
}

bool
ffe_compile_requires(ffe_builder *b, const ffe_node *root)
{
	ffe_node list;
	uint32_t off;

	if (!ffe_take(b, root, "requires", FFE_IS(FFE_ARRAY), false, &list))
		return false;
	if (list.kind == FFE_MISSING)
		return true;
	if (list.len == 0)
	{
		ffe_enter_member(b, "requires", 8);
		return ffe_refuse(b, "Leave the member out where nothing is required.",
						  "expected at least one prerequisite, found an empty array");
	}
	if (list.len <= FFE_MAX_REQUIRES)
	{
		if (!ffe_block_reserve(b, sizeof(ffe_require) * list.len, &off))
			return false;
		ffe_header(b)->requires = (ffe_ref){off, list.len};
	}
	return ffe_each_element(b, root, "requires", FFE_MAX_REQUIRES, read_require);
}

bool
ffe_compile_rollout(ffe_builder *b, const ffe_node *root)
{
	ffe_node list;
	ffe_ref split;
	size_t mark;

	if (!ffe_take(b, root, "rollout", FFE_IS(FFE_ARRAY), false, &list))
		return false;
	if (list.kind == FFE_MISSING || list.len == 0)
		return true;
	mark = ffe_enter_member(b, "rollout", 7);
	if (!read_split(b, &list, &split))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->rollout = split;
	return true;
}

bool
ffe_compile_bucketing(ffe_builder *b, const ffe_node *root, const ffe_node *key)
{
	static const char *const members[] = {"by", "salt", NULL};
	ffe_node object, salt = *key;
	ffe_ref ref, traffic_ref;
	uint32_t by = FFE_BY_USER;
	size_t mark;

	if (!ffe_take(b, root, "bucketing", FFE_IS(FFE_OBJECT), false, &object))
		return false;
	mark = ffe_enter_member(b, "bucketing", 9);
	if (object.kind == FFE_OBJECT)
	{
		if (!ffe_check_members(b, &object, members) || !ffe_take_by(b, &object, &by) ||
			!ffe_take(b, &object, "salt", FFE_IS(FFE_STRING), false, &salt))
			return false;
		if (salt.kind == FFE_MISSING)
			salt = *key;
		ffe_enter_member(b, "salt", 4);
	}
	if (!ffe_block_salt(b, &salt, "", &ref) || !ffe_block_salt(b, &salt, ":traffic", &traffic_ref))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->by = by;
	ffe_header(b)->salt = ref;
	ffe_header(b)->traffic_salt = traffic_ref;
	return true;
}

/* ---------- experiments ---------- */

/* The buckets that take part: all of them, unless the experiment says otherwise. */
static bool
read_traffic(ffe_builder *b, const ffe_node *experiment, uint32_t *out)
{
	ffe_node traffic;
	size_t mark;

	*out = 100000;
	if (!ffe_take(b, experiment, "traffic", FFE_IS(FFE_NUMBER), false, &traffic))
		return false;
	if (traffic.kind == FFE_MISSING)
		return true;
	mark = ffe_enter_member(b, "traffic", 7);
	if (!ffe_read_weight(b, &traffic, out))
		return false;
	ffe_leave(b, mark);
	return true;
}

/* When it runs, for those who analyse it. The clock starts and ends no experiment: `active` does.
 */
static bool
read_period(ffe_builder *b, const ffe_node *experiment)
{
	int64_t start, end;

	if (!ffe_take_time(b, experiment, "started_at", &start) ||
		!ffe_take_time(b, experiment, "ended_at", &end))
		return false;
	if (end != FFE_NO_TIME && end < start)
	{
		ffe_enter_member(b, "ended_at", 8);
		return ffe_refuse(b, "An experiment ends when it starts, or later.",
						  "the time is before started_at");
	}
	ffe_header(b)->experiment_start = start;
	return true;
}

bool
ffe_compile_experiment(ffe_builder *b, const ffe_node *root)
{
	static const char *const members[] = {"active",     "traffic",  "hypothesis",
										  "started_at", "ended_at", NULL};
	ffe_node object, active;
	uint32_t weight;
	size_t mark;

	ffe_header(b)->traffic = 100000;
	if (!ffe_take(b, root, "experiment", FFE_IS(FFE_OBJECT), false, &object))
		return false;
	if (object.kind == FFE_MISSING)
		return true;
	mark = ffe_enter_member(b, "experiment", 10);
	if (!ffe_check_members(b, &object, members) ||
		!ffe_take(b, &object, "active", FFE_IS(FFE_BOOL), false, &active) ||
		!read_traffic(b, &object, &weight) ||
		!ffe_take_text(b, &object, "hypothesis", FFE_MAX_TEXT) || !read_period(b, &object))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->experiment = active.kind == FFE_BOOL && active.u.boolean;
	if (ffe_header(b)->experiment)
	{
		ffe_header(b)->traffic = weight;
		ffe_header(b)->reads_context = ffe_header(b)->reads_context || weight < 100000;
	}
	return true;
}
