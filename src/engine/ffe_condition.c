/*
 * src/engine/ffe_condition.c
 *	  Compiling conditions: from nested JSON to an array of jumps.
 *
 * The rule: all, any and not become jump targets of the tests inside them. A label stands for the
 * test that will come next; ffe_compile resolves labels when all tests are there. A test that
 * answers the whole condition jumps to FFE_YES or FFE_NO.
 */
#include "ffe_build.h"

const char *const ffe_op_names[] = {"equals",
									"not_equals",
									"in_list",
									"not_in_list",
									"contains",
									"not_contains",
									"starts_with",
									"ends_with",
									"regex",
									"exists",
									"not_exists",
									"greater_than",
									"greater_or_equal",
									"less_than",
									"less_or_equal",
									"before",
									"after",
									"semver_equals",
									"semver_greater",
									"semver_greater_or_equal",
									"semver_less",
									"semver_less_or_equal",
									"in_cidr",
									"segment",
									"flag",
									"percentage"};

typedef struct ffe_place
{
	uint32_t on_true;
	uint32_t on_false;
	uint32_t group;
	uint32_t position;
	uint32_t depth;
} ffe_place;

static bool condition(ffe_builder *b, const ffe_node *node, const ffe_place *place);

/* ---------- operands ---------- */

static bool
read_number(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	if (value->kind != FFE_NUMBER || !b->reader->number(value, &test->u.number))
		return ffe_refuse_kind(b, "a finite number", value);
	return true;
}

static bool
read_time(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	if (value->kind != FFE_STRING || !ffe_parse_time(value->u.str, value->len, &test->u.time))
		return ffe_refuse_kind(b, "an RFC 3339 time such as \"2026-01-31T12:00:00Z\"", value);
	return true;
}

static bool
read_semver(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	if (value->kind != FFE_STRING ||
		!ffe_parse_semver(value->u.str, value->len, &test->u.semver.version))
		return ffe_refuse_kind(b, "a version such as \"1.2.3\" (semver.org)", value);
	return ffe_block_string(b, value->u.str, value->len, &test->u.semver.text);
}

static bool
read_scalar(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	ffe_scalar *scalar = &test->u.scalar;

	scalar->kind = (uint8_t) value->kind;
	switch (value->kind)
	{
		case FFE_BOOL:
			scalar->boolean = value->u.boolean;
			return true;
		case FFE_NUMBER:
			return b->reader->number(value, &scalar->number) ||
				   ffe_refuse_kind(b, "a finite number", value);
		case FFE_STRING:
			if (value->len > FFE_MAX_STRING)
				return ffe_refuse_limit(b, "bytes of a string", value->len, FFE_MAX_STRING);
			return (test->ignore_case ? ffe_block_folded : ffe_block_string)(b, value->u.str,
																			 value->len,
																			 &scalar->str);
		default:
			return ffe_refuse_kind(b, "a string, a number or a boolean", value);
	}
}

/* Element i of a value that is a list, or may be one value standing alone. */
static void
any_of(ffe_builder *b, const ffe_node *value, uint32_t i, ffe_node *out)
{
	if (value->kind == FFE_ARRAY)
		b->reader->element(value, i, out);
	else
		*out = *value;
}

/* How many values there are; refuses none, and too many. */
static bool
count_any_of(ffe_builder *b, const ffe_node *value, uint32_t limit, uint32_t *count)
{
	*count = value->kind == FFE_ARRAY ? value->len : 1;
	if (*count == 0)
		return ffe_refuse_kind(b, "at least one value", value);
	return *count <= limit || ffe_refuse_limit(b, "values", *count, limit);
}

static bool
read_table(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	bool is_list = test->op == FFE_OP_IN_LIST || test->op == FFE_OP_NOT_IN_LIST;
	ffe_table table;
	uint32_t count;
	int32_t found;

	if (is_list && value->kind != FFE_ARRAY)
		return ffe_refuse_kind(b, "an array", value);
	if (!count_any_of(b, value, is_list ? FFE_MAX_LIST : FFE_MAX_ANY_OF, &count) ||
		!ffe_table_make(b, count, &table))
		return false;
	for (uint32_t i = 0; i < count; i++)
	{
		size_t mark = value->kind == FFE_ARRAY ? ffe_enter_element(b, i) : b->path_len;
		ffe_node node;

		any_of(b, value, i, &node);
		if (!is_list && node.kind == FFE_STRING && node.len == 0)
			return ffe_refuse_kind(b, "at least one character", &node);
		if (!ffe_table_add(b, &table, &node, test->ignore_case, 0, &found))
			return false;
		ffe_leave(b, mark);
	}
	test->u.table = table;
	return true;
}

/* One prefix, suffix, pattern or network as an element of the operand's array at off. */
static bool
read_part(ffe_builder *b, const ffe_node *node, const ffe_test *test, uint32_t off)
{
	ffe_pattern *pattern;
	ffe_network network;
	const char *wrong;
	ffe_ref ref;

	if (node->kind != FFE_STRING)
		return ffe_refuse_kind(b, "a string", node);
	if (node->len == 0)
		return ffe_refuse_kind(b, "at least one character", node);
	if (test->op == FFE_OP_IN_CIDR)
	{
		memset(&network, 0, sizeof(network));
		wrong = ffe_parse_network(node->u.str, node->len, &network);
		if (wrong != NULL)
			return ffe_refuse(b, "Write an address, or a network such as 10.0.0.0/8.",
							  "\"%.*s\": %s", ffe_cut(node->u.str, node->len, 60), node->u.str,
							  wrong);
		memcpy(b->block.data + off, &network, sizeof(network));
		return true;
	}
	if (node->len > (test->op == FFE_OP_REGEX ? FFE_MAX_PATTERN : FFE_MAX_STRING))
		return ffe_refuse_limit(b, "bytes", node->len,
								test->op == FFE_OP_REGEX ? FFE_MAX_PATTERN : FFE_MAX_STRING);
	if (!(test->ignore_case && test->op != FFE_OP_REGEX
			  ? ffe_block_folded
			  : ffe_block_string)(b, node->u.str, node->len, &ref))
		return false;
	if (test->op != FFE_OP_REGEX)
	{
		memcpy(b->block.data + off, &ref, sizeof(ref));
		return true;
	}
	if (b->patterns.count == FFE_MAX_PATTERNS)
		return ffe_refuse_limit(b, "regular expressions", b->patterns.count + 1, FFE_MAX_PATTERNS);
	memcpy(b->block.data + off, &b->patterns.count, sizeof(uint32_t));
	pattern = ffe_append(b, &b->patterns);
	if (pattern == NULL)
		return false;
	pattern->text = ref;
	pattern->ignore_case = test->ignore_case;
	ffe_format(pattern->path, sizeof(pattern->path), "%s", b->path);
	return true;
}

/* A string or a list of strings, for operators that take any of several. */
static bool
read_parts(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	uint32_t width = test->op == FFE_OP_IN_CIDR ? sizeof(ffe_network)
					 : test->op == FFE_OP_REGEX ? sizeof(uint32_t)
												: sizeof(ffe_ref);
	uint32_t count, off;

	if (!count_any_of(b, value, FFE_MAX_ANY_OF, &count) ||
		!ffe_block_reserve(b, (size_t) width * count, &off))
		return false;
	for (uint32_t i = 0; i < count; i++)
	{
		size_t mark = value->kind == FFE_ARRAY ? ffe_enter_element(b, i) : b->path_len;
		ffe_node node;

		any_of(b, value, i, &node);
		if (!read_part(b, &node, test, off + i * width))
			return false;
		ffe_leave(b, mark);
	}
	test->u.list.off = off;
	test->u.list.len = count;
	return true;
}

static bool
read_operand(ffe_builder *b, const ffe_node *value, ffe_test *test)
{
	switch ((ffe_op) test->op)
	{
		case FFE_OP_EQUALS:
		case FFE_OP_NOT_EQUALS:
			return read_scalar(b, value, test);
		case FFE_OP_IN_LIST:
		case FFE_OP_NOT_IN_LIST:
		case FFE_OP_CONTAINS:
		case FFE_OP_NOT_CONTAINS:
			return read_table(b, value, test);
		case FFE_OP_GREATER_THAN:
		case FFE_OP_GREATER_OR_EQUAL:
		case FFE_OP_LESS_THAN:
		case FFE_OP_LESS_OR_EQUAL:
			return read_number(b, value, test);
		case FFE_OP_BEFORE:
		case FFE_OP_AFTER:
			return read_time(b, value, test);
		case FFE_OP_SEMVER_EQUALS:
		case FFE_OP_SEMVER_GREATER:
		case FFE_OP_SEMVER_GREATER_OR_EQUAL:
		case FFE_OP_SEMVER_LESS:
		case FFE_OP_SEMVER_LESS_OR_EQUAL:
			return read_semver(b, value, test);
		default:
			return read_parts(b, value, test);
	}
}

/* ---------- leaves ---------- */

/* Where tests go: into the array, at the place of the condition. */
static bool
add_test(ffe_builder *b, const ffe_place *place, const ffe_test *test)
{
	ffe_test *added;

	if (b->tests.count == FFE_MAX_CONDITIONS)
		return ffe_refuse_limit(b, "conditions", b->tests.count + 1, FFE_MAX_CONDITIONS);
	added = ffe_append(b, &b->tests);
	if (added == NULL)
		return false;
	*added = *test;
	added->on_true = place->on_true;
	added->on_false = place->on_false;
	added->group = place->group;
	added->position = (uint16_t) place->position;
	return true;
}

static bool
find_operator(ffe_builder *b, const ffe_node *node, uint8_t *out)
{
	char expected[512] = "Operators are: ";
	size_t len = strlen(expected);

	for (int op = 0; op <= FFE_OP_LAST_ATTRIBUTE; op++)
	{
		if (ffe_node_is(node, ffe_op_names[op]))
		{
			*out = (uint8_t) op;
			return true;
		}
		ffe_format(expected + len, sizeof(expected) - len, "%s%s", op == 0 ? "" : ", ",
				   ffe_op_names[op]);
		len += strlen(expected + len);
	}
	ffe_format(expected + len, sizeof(expected) - len, ".");
	ffe_enter_member(b, "op", 2);
	return ffe_refuse(b, expected, "unknown operator \"%.*s\"", ffe_cut(node->u.str, node->len, 60),
					  node->u.str);
}

/* Whether an operand has strings whose case could be ignored. */
static bool
may_ignore_case(const ffe_test *test)
{
	return test->op <= FFE_OP_REGEX;
}

static bool
attribute_condition(ffe_builder *b, const ffe_node *node, const ffe_place *place)
{
	static const char *const members[] = {"attr", "op", "value", "ignore_case", NULL};
	ffe_test test;
	ffe_node attr, op, value, ignore_case;
	bool wants_value;
	size_t mark;

	memset(&test, 0, sizeof(test));
	if (!ffe_check_members(b, node, members) ||
		!ffe_take(b, node, "attr", FFE_IS(FFE_STRING), true, &attr) ||
		!ffe_take(b, node, "op", FFE_IS(FFE_STRING), true, &op) ||
		!find_operator(b, &op, &test.op) ||
		!ffe_take(b, node, "ignore_case", FFE_IS(FFE_BOOL), false, &ignore_case))
		return false;
	test.ignore_case = ignore_case.kind == FFE_BOOL && ignore_case.u.boolean;
	if (test.ignore_case && !may_ignore_case(&test))
	{
		ffe_enter_member(b, "ignore_case", 11);
		return ffe_refuse(b, "Only operators that compare strings can ignore case.",
						  "operator \"%s\" has no case", ffe_op_names[test.op]);
	}
	mark = ffe_enter_member(b, "attr", 4);
	if (!ffe_read_attribute(b, &attr, &test.attr))
		return false;
	ffe_leave(b, mark);

	mark = ffe_enter_member(b, "value", 5);
	wants_value = test.op != FFE_OP_EXISTS && test.op != FFE_OP_NOT_EXISTS;
	if (b->reader->member(node, "value", 5, &value) != wants_value)
	{
		if (wants_value)
			return ffe_refuse_kind(b, "a value to compare with", &value);
		return ffe_refuse(b, "Leave the member out.", "operator \"%s\" takes no value",
						  ffe_op_names[test.op]);
	}
	if (wants_value && !read_operand(b, &value, &test))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->reads_context = true;
	return add_test(b, place, &test);
}

static bool
segment_condition(ffe_builder *b, const ffe_node *node, const ffe_place *place)
{
	static const char *const members[] = {"segment", NULL};
	ffe_test test;
	ffe_node key;

	memset(&test, 0, sizeof(test));
	test.op = FFE_OP_SEGMENT;
	return ffe_check_members(b, node, members) && ffe_take_key(b, node, "segment", true, &key) &&
		   ffe_depend(b, FFE_SEGMENT, &key, &test.u.dep.object) && add_test(b, place, &test);
}

static bool
flag_condition(ffe_builder *b, const ffe_node *node, const ffe_place *place)
{
	static const char *const members[] = {"flag", "variant", NULL};
	ffe_test test;
	ffe_node key, variant;

	memset(&test, 0, sizeof(test));
	test.op = FFE_OP_FLAG;
	return ffe_check_members(b, node, members) && ffe_take_key(b, node, "flag", true, &key) &&
		   ffe_take_key(b, node, "variant", true, &variant) &&
		   ffe_depend(b, FFE_FLAG, &key, &test.u.dep.object) &&
		   ffe_block_string(b, variant.u.str, variant.len, &test.u.dep.variant) &&
		   add_test(b, place, &test);
}

static bool
percentage_condition(ffe_builder *b, const ffe_node *node, const ffe_place *place)
{
	static const char *const members[] = {"percentage", "by", "salt", NULL};
	ffe_test test;
	ffe_node percentage, salt;
	size_t mark;

	memset(&test, 0, sizeof(test));
	test.op = FFE_OP_PERCENTAGE;
	if (!ffe_check_members(b, node, members) ||
		!ffe_take(b, node, "percentage", FFE_IS(FFE_NUMBER), true, &percentage) ||
		!ffe_take(b, node, "salt", FFE_IS(FFE_STRING), true, &salt) ||
		!ffe_take_by(b, node, &test.attr))
		return false;
	mark = ffe_enter_member(b, "percentage", 10);
	if (!ffe_read_weight(b, &percentage, &test.u.percentage.below))
		return false;
	ffe_leave(b, mark);
	mark = ffe_enter_member(b, "salt", 4);
	if (!ffe_block_salt(b, &salt, "", &test.u.percentage.salt))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->reads_context = true;
	return add_test(b, place, &test);
}

/* ---------- nesting ---------- */

static bool
add_group(ffe_builder *b, uint32_t parent, uint32_t position, ffe_group_kind kind, uint32_t *id)
{
	ffe_group *group = ffe_append(b, &b->groups);

	if (group == NULL)
		return false;
	group->parent = parent;
	group->position = (uint16_t) position;
	group->kind = (uint16_t) kind;
	*id = b->groups.count - 1;
	return true;
}

/*
 * all: each condition but the last goes on to the next where it holds; any: where it doesn't.
 * What the last one says is the answer.
 */
static bool
group_conditions(ffe_builder *b, const ffe_node *list, const ffe_place *place, bool all)
{
	ffe_place inner = *place;

	if (list->len == 0)
		return ffe_refuse_kind(b, "at least one condition", list);
	if (list->len > FFE_MAX_CONDITIONS)
		return ffe_refuse_limit(b, "conditions", list->len, FFE_MAX_CONDITIONS);
	for (uint32_t i = 0; i < list->len; i++)
	{
		bool last = i == list->len - 1;
		uint32_t label = b->labels.count;
		size_t mark = ffe_enter_element(b, i);
		ffe_node node;

		if (!last && ffe_append(b, &b->labels) == NULL)
			return false;
		inner.on_true = last || !all ? place->on_true : label;
		inner.on_false = last || all ? place->on_false : label;
		inner.position = i;
		b->reader->element(list, i, &node);
		if (!condition(b, &node, &inner))
			return false;
		if (!last)
			*FFE_VEC_AT(b->labels, uint32_t, label) = b->tests.count;
		ffe_leave(b, mark);
	}
	return true;
}

static bool
group_condition(ffe_builder *b, const ffe_node *node, const ffe_place *place, ffe_group_kind kind)
{
	static const char *const names[] = {
		[FFE_IN_ALL] = "all", [FFE_IN_ANY] = "any", [FFE_IN_NOT] = "not"};
	const char *const members[] = {names[kind], NULL};
	ffe_place inner = *place;
	ffe_node inside;
	size_t mark;

	if (++inner.depth > FFE_MAX_CONDITION_DEPTH)
		return ffe_refuse_limit(b, "nesting of conditions", inner.depth, FFE_MAX_CONDITION_DEPTH);
	if (!ffe_check_members(b, node, members) ||
		!ffe_take(b, node, names[kind], FFE_IS(kind == FFE_IN_NOT ? FFE_OBJECT : FFE_ARRAY), true,
				  &inside) ||
		!add_group(b, place->group, place->position, kind, &inner.group))
		return false;
	mark = ffe_enter_member(b, names[kind], 3);
	if (kind == FFE_IN_NOT)
	{
		inner.on_true = place->on_false;
		inner.on_false = place->on_true;
		inner.position = 0;
		if (!condition(b, &inside, &inner))
			return false;
	}
	else if (!group_conditions(b, &inside, &inner, kind == FFE_IN_ALL))
		return false;
	ffe_leave(b, mark);
	return true;
}

static bool
has_member(ffe_builder *b, const ffe_node *node, const char *name)
{
	ffe_node found;

	return b->reader->member(node, name, strlen(name), &found);
}

static bool
condition(ffe_builder *b, const ffe_node *node, const ffe_place *place)
{
	if (node->kind != FFE_OBJECT)
		return ffe_refuse_kind(b, "a condition (an object)", node);
	if (has_member(b, node, "attr"))
		return attribute_condition(b, node, place);
	if (has_member(b, node, "all"))
		return group_condition(b, node, place, FFE_IN_ALL);
	if (has_member(b, node, "any"))
		return group_condition(b, node, place, FFE_IN_ANY);
	if (has_member(b, node, "not"))
		return group_condition(b, node, place, FFE_IN_NOT);
	if (has_member(b, node, "segment"))
		return segment_condition(b, node, place);
	if (has_member(b, node, "flag"))
		return flag_condition(b, node, place);
	if (has_member(b, node, "percentage"))
		return percentage_condition(b, node, place);
	return ffe_refuse(
		b,
		"A condition has one of the members all, any, not, segment, flag, percentage, "
		"or attr with op and value.",
		"not a condition");
}

bool
ffe_compile_condition(ffe_builder *b, const ffe_node *node, ffe_group_kind kind, uint32_t position,
					  uint32_t *entry)
{
	ffe_place place = {FFE_YES, FFE_NO, 0, 0, 0};

	*entry = b->tests.count;
	return add_group(b, 0, position, kind, &place.group) && condition(b, node, &place);
}

/* ---------- paths, for explanations ---------- */

void
ffe_test_path(const ffe_doc *doc, const ffe_test *test, char *out, size_t size)
{
	const ffe_group *groups = FFE_AT(doc, doc->groups, ffe_group);
	uint32_t chain[FFE_MAX_CONDITION_DEPTH + 1];
	uint32_t n = 0;
	size_t len;

	for (uint32_t id = test->group;; id = groups[id].parent)
	{
		chain[n++] = id;
		if (groups[id].kind <= FFE_IN_SEGMENT || n > FFE_MAX_CONDITION_DEPTH)
			break;
	}
	if (groups[chain[n - 1]].kind == FFE_IN_RULE)
		ffe_format(out, size, "rules[%u].if", groups[chain[n - 1]].position);
	else
		ffe_format(out, size, "if");
	while (n-- > 0)
	{
		const ffe_group *group = &groups[chain[n]];
		unsigned at = n > 0 ? groups[chain[n - 1]].position : test->position;

		len = strlen(out);
		if (group->kind == FFE_IN_ALL || group->kind == FFE_IN_ANY)
			ffe_format(out + len, size - len, ".%s[%u]", group->kind == FFE_IN_ALL ? "all" : "any",
					   at);
		else if (group->kind == FFE_IN_NOT)
			ffe_format(out + len, size - len, ".not");
	}
}
