/*
 * src/engine/ffe_ops.c
 *	  Operators: whether a condition on an attribute holds.
 *
 * The rule: every operator is total. A missing attribute, or one of a type that the operator does
 * not take, makes the condition false; only a limit is an error, and it is left in st->failure.
 * What may run long over a long attribute counts its steps (ffe_spend) before it runs. What a
 * scalar costs by the definition alone is bounded by the definition's size, and not counted.
 */
#include "ffe_state.h"

/* The longest a listed string can be once it is folded. */
#define FOLDED_MAX (FFE_MAX_STRING + FFE_MAX_STRING / 2 + 4)

/* ---------- strings ---------- */

static inline uint32_t
at_most(uint32_t n, uint32_t limit)
{
	return n < limit ? n : limit;
}

static bool
bytes_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/*
 * Operators stay functions of their own: merged into ffe_test_scalar, each condition would save the
 * registers, and those that fold set up the buffers, of all of them.
 */
#define APART __attribute__((noinline))

APART static bool
equals_folded(ffe_state *st, const ffe_doc *doc, ffe_ref str, const ffe_node *node)
{
	char folded[FOLDED_MAX];
	size_t len;

	if (!ffe_spend(st, at_most(node->len, FOLDED_MAX)))
		return false;
	len = ffe_fold(node->u.str, node->len, folded, sizeof(folded));
	return len != SIZE_MAX && bytes_equal(folded, len, ffe_str(doc, str), str.len);
}

static bool
equals_string(ffe_state *st, const ffe_doc *doc, const ffe_test *test, const ffe_node *node)
{
	ffe_ref str = test->u.scalar.str;

	if (test->ignore_case)
		return equals_folded(st, doc, str, node);
	return bytes_equal(node->u.str, node->len, ffe_str(doc, str), str.len);
}

/*
 * Looks for needles in folded text, a window at a time, each window beginning with the end of the
 * one before: a needle that lies across a border is found whole.
 */
APART static bool
contains_folded(ffe_state *st, const ffe_doc *doc, const ffe_table *needles, const ffe_node *node)
{
	const ffe_entry *entries = FFE_AT(doc, needles->entries, ffe_entry);
	const char *s = node->u.str;
	const char *end = s + node->len;
	char window[3 * FOLDED_MAX];
	size_t have = 0;

	if (!ffe_spend(st, node->len))
		return false;
	for (;;)
	{
		while (s < end && have + 4 <= sizeof(window))
		{
			const char *next = s;

			(void) ffe_fold_next(&next, end);
			have += ffe_fold(s, (size_t) (next - s), window + have, sizeof(window) - have);
			s = next;
		}
		for (uint32_t i = 0; i < needles->entries.len; i++)
		{
			ffe_ref str = entries[i].u.str;

			if (entries[i].kind == FFE_STRING &&
				memmem(window, have, ffe_str(doc, str), str.len) != NULL)
				return true;
		}
		if (s == end)
			return false;
		memmove(window, window + have - FOLDED_MAX, FOLDED_MAX);
		have = FOLDED_MAX;
	}
}

APART static bool
contains_string(ffe_state *st, const ffe_doc *doc, const ffe_test *test, const ffe_node *node)
{
	const ffe_table *needles = &test->u.table;
	const ffe_entry *entries = FFE_AT(doc, needles->entries, ffe_entry);

	if (!ffe_spend(st, (uint64_t) needles->entries.len * (1 + node->len / 16)))
		return false;
	if (test->ignore_case)
		return contains_folded(st, doc, needles, node);
	for (uint32_t i = 0; i < needles->entries.len; i++)
	{
		ffe_ref str = entries[i].u.str;

		if (entries[i].kind == FFE_STRING &&
			memmem(node->u.str, node->len, ffe_str(doc, str), str.len) != NULL)
			return true;
	}
	return false;
}

APART static bool
has_edge(const ffe_doc *doc, const ffe_test *test, const char *s, size_t len)
{
	const ffe_ref *parts = FFE_AT(doc, test->u.list, ffe_ref);
	bool from_start = test->op == FFE_OP_STARTS_WITH;

	for (uint32_t i = 0; i < test->u.list.len; i++)
	{
		if (parts[i].len <= len && memcmp(from_start ? s : s + len - parts[i].len,
										  ffe_str(doc, parts[i]), parts[i].len) == 0)
			return true;
	}
	return false;
}

/*
 * starts_with and ends_with on folded text. One byte of it comes from four of the attribute at
 * most, so no more than that has to be folded; folding makes it at most half as long again.
 */
APART static bool
has_edge_folded(ffe_state *st, const ffe_doc *doc, const ffe_test *test, const ffe_node *node)
{
	const char *s = node->u.str;
	const char *end = s + node->len;
	char folded[6 * FOLDED_MAX];

	if (node->len > 4 * FOLDED_MAX && test->op == FFE_OP_STARTS_WITH)
	{
		end = s + 4 * FOLDED_MAX;
		while (((unsigned char) *end & 0xC0) == 0x80)
			end--;
	}
	else if (node->len > 4 * FOLDED_MAX)
	{
		s = end - 4 * FOLDED_MAX;
		while (((unsigned char) *s & 0xC0) == 0x80)
			s++;
	}
	return ffe_spend(st, (uint64_t) (end - s)) &&
		   has_edge(doc, test, folded, ffe_fold(s, (size_t) (end - s), folded, sizeof(folded)));
}

APART static bool
matches_pattern(ffe_state *st, const ffe_doc *doc, const ffe_test *test, const ffe_node *node)
{
	const uint32_t *patterns = FFE_AT(doc, test->u.list, uint32_t);
	pcre2_code *const *codes =
		(pcre2_code *const *) (const void *) ((const char *) doc + doc->patterns.off);

	st->matches += test->u.list.len;
	if (ffe_unlikely(node->len > FFE_REGEX_SUBJECT_LIMIT))
		return ffe_exceed(st, FFE_LIMIT_SUBJECT);
	if (ffe_unlikely(st->matches > FFE_REGEX_MATCHES_LIMIT))
		return ffe_exceed(st, FFE_LIMIT_PATTERNS);
	/* each can be quadratic in the subject without counting a step of its own */
	if (!ffe_spend(st, (uint64_t) test->u.list.len * (node->len * node->len / 64)))
		return false;
	for (uint32_t i = 0; i < test->u.list.len; i++)
	{
		int rc = (doc->all_jit ? pcre2_jit_match : pcre2_match)(codes[patterns[i]],
																(PCRE2_SPTR) node->u.str, node->len,
																0, PCRE2_NO_UTF_CHECK,
																st->match_data, st->match_context);

		if (rc >= 0)
			return true;
		if (rc != PCRE2_ERROR_NOMATCH)
		{
			(void) ffe_exceed(st, FFE_LIMIT_PATTERN);
			if (rc == PCRE2_ERROR_NOMEMORY)
				st->failure = FFE_NO_MEMORY;
			return false;
		}
	}
	return false;
}

/* ---------- tables ---------- */

APART static bool
in_table_folded(ffe_state *st, const ffe_doc *doc, const ffe_table *table, const ffe_node *node)
{
	char folded[FOLDED_MAX];
	size_t len;

	if (!ffe_spend(st, at_most(node->len, FOLDED_MAX)))
		return false;
	len = ffe_fold(node->u.str, node->len, folded, sizeof(folded));
	return len != SIZE_MAX &&
		   ffe_table_string(doc, table, folded, len, ffe_hash_string(folded, len)) != NULL;
}

APART static bool
in_table(ffe_state *st, const ffe_doc *doc, const ffe_test *test, ffe_slot *slot)
{
	const ffe_table *table = &test->u.table;
	ffe_entry wanted;

	if (slot->node.kind == FFE_STRING && test->ignore_case)
		return in_table_folded(st, doc, table, &slot->node);
	if (slot->node.kind == FFE_STRING)
		return ffe_table_string(doc, table, slot->node.u.str, slot->node.len,
								ffe_slot_hash(slot)) != NULL;
	memset(&wanted, 0, sizeof(wanted));
	wanted.kind = slot->node.kind;
	if (slot->node.kind == FFE_BOOL)
		wanted.hash = (uint32_t) (wanted.u.boolean = slot->node.u.boolean);
	else if (ffe_slot_number(st, slot))
		wanted.hash = ffe_hash_number(wanted.u.number = slot->number);
	else
		return false;
	return ffe_table_scalar(doc, table, &wanted) != NULL;
}

/* Whether a list has anything of the attribute's type: else the operator doesn't take it. */
static bool
takes_kind(const ffe_table *table, ffe_kind kind)
{
	return table->kinds & (1u << kind);
}

/* ---------- numbers, times, versions, addresses ---------- */

static bool
compare_number(ffe_state *st, const ffe_test *test, ffe_slot *slot)
{
	if (slot->node.kind != FFE_NUMBER || !ffe_slot_number(st, slot))
		return false;
	switch (test->op)
	{
		case FFE_OP_GREATER_THAN:
			return slot->number > test->u.number;
		case FFE_OP_GREATER_OR_EQUAL:
			return slot->number >= test->u.number;
		case FFE_OP_LESS_THAN:
			return slot->number < test->u.number;
		default:
			return slot->number <= test->u.number;
	}
}

APART static bool
compare_time(const ffe_test *test, ffe_slot *slot)
{
	if (slot->node.kind != FFE_STRING)
		return false;
	if (!(slot->tried & FFE_HAS_TIME))
	{
		slot->tried |= FFE_HAS_TIME;
		if (ffe_parse_time(slot->node.u.str, slot->node.len, &slot->time))
			slot->have |= FFE_HAS_TIME;
	}
	if (!(slot->have & FFE_HAS_TIME))
		return false;
	return test->op == FFE_OP_BEFORE ? slot->time < test->u.time : slot->time > test->u.time;
}

APART static bool
compare_version(const ffe_doc *doc, const ffe_test *test, ffe_slot *slot)
{
	int c;

	if (slot->node.kind != FFE_STRING)
		return false;
	if (!(slot->tried & FFE_HAS_SEMVER))
	{
		slot->tried |= FFE_HAS_SEMVER;
		if (ffe_parse_semver(slot->node.u.str, slot->node.len, &slot->semver))
			slot->have |= FFE_HAS_SEMVER;
	}
	if (!(slot->have & FFE_HAS_SEMVER))
		return false;
	c = ffe_compare_semver(slot->node.u.str, &slot->semver, ffe_str(doc, test->u.semver.text),
						   &test->u.semver.version);
	switch (test->op)
	{
		case FFE_OP_SEMVER_EQUALS:
			return c == 0;
		case FFE_OP_SEMVER_GREATER:
			return c > 0;
		case FFE_OP_SEMVER_GREATER_OR_EQUAL:
			return c >= 0;
		case FFE_OP_SEMVER_LESS:
			return c < 0;
		default:
			return c <= 0;
	}
}

APART static bool
in_networks(const ffe_doc *doc, const ffe_test *test, const ffe_node *node)
{
	const ffe_network *networks = FFE_AT(doc, test->u.list, ffe_network);
	uint8_t address[16];
	bool v4;

	if (node->kind != FFE_STRING || !ffe_parse_address(node->u.str, node->len, address, &v4))
		return false;
	for (uint32_t i = 0; i < test->u.list.len; i++)
	{
		if (ffe_in_network(address, &networks[i]))
			return true;
	}
	return false;
}

/* ---------- equality ---------- */

/* equals and not_equals; the types must be the same. */
static bool
compare_scalar(ffe_state *st, const ffe_doc *doc, const ffe_test *test, ffe_slot *slot)
{
	const ffe_scalar *scalar = &test->u.scalar;
	bool equal;

	if (slot->node.kind != (ffe_kind) scalar->kind)
		return false;
	if (scalar->kind == FFE_STRING)
		equal = equals_string(st, doc, test, &slot->node);
	else if (scalar->kind == FFE_BOOL)
		equal = slot->node.u.boolean == scalar->boolean;
	else if (ffe_slot_number(st, slot))
		equal = slot->number == scalar->number;
	else
		return false;
	return equal == (test->op == FFE_OP_EQUALS);
}

/* ---------- the whole ---------- */

/* An attribute, or an element of one, that is no array. */
bool
ffe_test_scalar(ffe_state *st, const ffe_doc *doc, const ffe_test *test, ffe_slot *slot)
{
	const ffe_node *node = &slot->node;

	switch ((ffe_op) test->op)
	{
		case FFE_OP_EQUALS:
		case FFE_OP_NOT_EQUALS:
			return compare_scalar(st, doc, test, slot);
		case FFE_OP_IN_LIST:
			return takes_kind(&test->u.table, node->kind) && in_table(st, doc, test, slot);
		case FFE_OP_NOT_IN_LIST:
			return takes_kind(&test->u.table, node->kind) && !in_table(st, doc, test, slot);
		case FFE_OP_CONTAINS:
			return node->kind == FFE_STRING && contains_string(st, doc, test, node);
		case FFE_OP_NOT_CONTAINS:
			return node->kind == FFE_STRING && takes_kind(&test->u.table, FFE_STRING) &&
				   !contains_string(st, doc, test, node);
		case FFE_OP_STARTS_WITH:
		case FFE_OP_ENDS_WITH:
			return node->kind == FFE_STRING &&
				   (test->ignore_case ? has_edge_folded(st, doc, test, node)
									  : has_edge(doc, test, node->u.str, node->len));
		case FFE_OP_REGEX:
			return node->kind == FFE_STRING && matches_pattern(st, doc, test, node);
		case FFE_OP_GREATER_THAN:
		case FFE_OP_GREATER_OR_EQUAL:
		case FFE_OP_LESS_THAN:
		case FFE_OP_LESS_OR_EQUAL:
			return compare_number(st, test, slot);
		case FFE_OP_BEFORE:
		case FFE_OP_AFTER:
			return compare_time(test, slot);
		case FFE_OP_IN_CIDR:
			return in_networks(doc, test, node);
		case FFE_OP_EXISTS:
			return true;
		case FFE_OP_NOT_EXISTS:
			return false;
		default:
			return compare_version(doc, test, slot);
	}
}

/* Whether an element of an array is one of the values of contains. */
static bool
is_element(ffe_state *st, const ffe_doc *doc, const ffe_test *test, ffe_slot *slot)
{
	return takes_kind(&test->u.table, slot->node.kind) && in_table(st, doc, test, slot);
}

/*
 * Steps of one element: looking at it, and what it is compared with. An element's length counts,
 * because each is hashed or compared anew by every condition.
 */
static uint64_t
element_steps(const ffe_test *test)
{
	bool tries_all = test->op == FFE_OP_STARTS_WITH || test->op == FFE_OP_ENDS_WITH ||
					 test->op == FFE_OP_IN_CIDR;

	return 5 + (tries_all ? test->u.list.len / 4 : 0);
}

/* An array: whether any element matches; for contains and not_contains, whether one is there. */
static bool
test_array(ffe_state *st, const ffe_doc *doc, const ffe_test *test, const ffe_node *array)
{
	bool asks_element = test->op == FFE_OP_CONTAINS || test->op == FFE_OP_NOT_CONTAINS;
	uint64_t steps = element_steps(test);
	bool found = false;

	if (array->len > FFE_MAX_ELEMENTS)
		return ffe_exceed(st, FFE_LIMIT_ELEMENTS);
	for (uint32_t i = 0; i < array->len && !found && st->failure == FFE_OK; i++)
	{
		ffe_slot slot;

		slot.tried = slot.have = 0;
		st->reader->element(array, i, &slot.node);
		if (!ffe_spend(st,
					   slot.node.kind == FFE_STRING ? steps * (1 + slot.node.len / 256) : steps))
			return false;
		if (slot.node.kind == FFE_BOOL || slot.node.kind == FFE_NUMBER ||
			slot.node.kind == FFE_STRING)
			found = (asks_element ? is_element : ffe_test_scalar)(st, doc, test, &slot);
	}
	return found != (test->op == FFE_OP_NOT_CONTAINS);
}

bool
ffe_test_other(ffe_state *st, const ffe_doc *doc, const ffe_test *test, const ffe_slot *slot)
{
	if (slot->node.kind <= FFE_NULL)
		return test->op == FFE_OP_NOT_EXISTS;
	if (test->op == FFE_OP_EXISTS || test->op == FFE_OP_NOT_EXISTS)
		return test->op == FFE_OP_EXISTS;
	return slot->node.kind == FFE_ARRAY && test_array(st, doc, test, &slot->node);
}
