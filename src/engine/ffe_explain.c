/*
 * src/engine/ffe_explain.c
 *	  What people read: names, results, and the steps of an evaluation in words.
 *
 * Nothing here is on the way of an evaluation that nobody traces.
 */
#include "ffe_state.h"

/* ---------- names ---------- */

const char *
ffe_status_name(ffe_status status)
{
	static const char *const names[] = {"",
										"FLAG_NOT_FOUND",
										"FLAG_ARCHIVED",
										"PARSE_ERROR",
										"TYPE_MISMATCH",
										"INVALID_CONTEXT",
										"LIMIT_EXCEEDED",
										"PERMISSION_DENIED",
										"PROVIDER_NOT_READY",
										"NO_MEMORY"};

	return names[status];
}

const char *
ffe_reason_name(ffe_reason reason)
{
	static const char *const names[FFE_REASON_COUNT] = {
		"ERROR_FALLBACK", "KILL_SWITCH", "PREREQUISITE_FAILED", "USER_OVERRIDE", "RULE_MATCH",
		"ROLLOUT",        "DEFAULT"};

	return names[reason];
}

const char *
ffe_stage_name(ffe_stage stage)
{
	static const char *const names[] = {"flag",    "kill switch", "prerequisite", "override",
										"traffic", "rule",        "condition",    "segment",
										"split",   "rollout",     "default"};

	return names[stage];
}

/* ---------- documents and results ---------- */

size_t
ffe_doc_size(const ffe_doc *doc)
{
	return doc->size + doc->regex_size;
}

uint32_t
ffe_doc_dependency(const ffe_doc *doc, uint32_t i)
{
	return i < doc->deps.len ? FFE_AT(doc, doc->deps, uint32_t)[i] : FFE_NO_ID;
}

/* The i-th test that asks for a flag, or NULL. */
static const ffe_test *
flag_test(const ffe_doc *doc, uint32_t i)
{
	const ffe_test *tests = FFE_AT(doc, doc->tests, ffe_test);

	for (uint32_t at = 0; at < doc->tests.len; at++)
	{
		if (tests[at].op == FFE_OP_FLAG && i-- == 0)
			return &tests[at];
	}
	return NULL;
}

bool
ffe_doc_wanted_variant(const ffe_set *set, const ffe_doc *doc, uint32_t i, uint32_t *flag,
					   const char **variant, size_t *len, char *path, size_t size)
{
	const ffe_require *requires = FFE_AT(doc, doc->requires, ffe_require);
	const ffe_test *test;
	ffe_ref name;

	(void) set;
	if (i < doc->requires.len)
	{
		*flag = requires[i].flag;
		name = requires[i].variant;
		ffe_format(path, size, "requires[%u]", i);
	}
	else
	{
		test = flag_test(doc, i - doc->requires.len);
		if (test == NULL)
			return false;
		*flag = test->u.dep.object;
		name = test->u.dep.variant;
		ffe_test_path(doc, test, path, size);
	}
	*variant = ffe_str(doc, name);
	*len = name.len;
	return true;
}

void
ffe_doc_reference_path(const ffe_doc *doc, uint32_t dep, char *path, size_t size)
{
	const ffe_require *requires = FFE_AT(doc, doc->requires, ffe_require);
	const ffe_test *tests = FFE_AT(doc, doc->tests, ffe_test);

	path[0] = '\0';
	for (uint32_t i = 0; i < doc->requires.len; i++)
	{
		if (requires[i].flag == dep)
		{
			ffe_format(path, size, "requires[%u]", i);
			return;
		}
	}
	for (uint32_t i = 0; i < doc->tests.len; i++)
	{
		if ((tests[i].op == FFE_OP_FLAG || tests[i].op == FFE_OP_SEGMENT) &&
			tests[i].u.dep.object == dep)
		{
			ffe_test_path(doc, &tests[i], path, size);
			return;
		}
	}
}

bool
ffe_doc_has_variant(const ffe_doc *doc, const char *variant, size_t len)
{
	const ffe_variant *variants = FFE_AT(doc, doc->variants, ffe_variant);

	for (uint32_t i = 0; i < doc->variants.len; i++)
	{
		if (variants[i].name.len == len &&
			memcmp(ffe_str(doc, variants[i].name), variant, len) == 0)
			return true;
	}
	return false;
}

const char *
ffe_doc_default_variant(const ffe_doc *doc, size_t *len)
{
	const ffe_variant *variants = FFE_AT(doc, doc->variants, ffe_variant);

	if (doc->default_variant < 0)
		return NULL;
	*len = variants[doc->default_variant].name.len;
	return ffe_str(doc, variants[doc->default_variant].name);
}

bool
ffe_doc_reads_context(const ffe_doc *doc)
{
	return doc->reads_context;
}

ffe_status
ffe_doc_status(const ffe_doc *doc)
{
	return (ffe_status) doc->status;
}

ffe_type
ffe_doc_type(const ffe_doc *doc)
{
	return (ffe_type) doc->type;
}

int64_t
ffe_doc_version(const ffe_doc *doc)
{
	return doc->version;
}

int64_t
ffe_doc_experiment_start(const ffe_doc *doc)
{
	return doc->experiment_start;
}

void
ffe_result_value(const ffe_result *result, ffe_value *value)
{
	const ffe_doc *doc = result->doc;
	const ffe_variant *variant;

	memset(value, 0, sizeof(*value));
	if (doc == NULL || !doc->has_default)
		return;
	variant = result->variant >= 0 ? &FFE_AT(doc, doc->variants, ffe_variant)[result->variant]
								   : &doc->fallback;
	value->kind = (ffe_kind) variant->value.kind;
	value->boolean = variant->value.boolean;
	value->number = variant->value.number;
	value->str = ffe_str(doc, variant->value.str);
	value->str_len = variant->value.str.len;
	value->copy = variant->copy.off == 0 ? NULL : ffe_str(doc, variant->copy);
	value->copy_len = variant->copy.len;
}

const char *
ffe_result_variant(const ffe_result *result, size_t *len)
{
	const ffe_variant *variant;

	*len = 0;
	if (result->doc == NULL || result->variant < 0)
		return NULL;
	variant = &FFE_AT(result->doc, result->doc->variants, ffe_variant)[result->variant];
	*len = variant->name.len;
	return ffe_str(result->doc, variant->name);
}

const char *
ffe_result_rule(const ffe_result *result, size_t *len)
{
	const ffe_rule *rule;

	*len = 0;
	if (result->rule < 0)
		return NULL;
	rule = &FFE_AT(result->doc, result->doc->rules, ffe_rule)[result->rule];
	*len = rule->id.len;
	return rule->id.len == 0 ? NULL : ffe_str(result->doc, rule->id);
}

/* What hit a limit, as the end of a sentence. */
static const char *
limit_words(ffe_limit limit)
{
	static const char *const words[] = {
		[FFE_LIMIT_DEFINITION] = "its definition is too large",
		[FFE_LIMIT_PATTERN] = "a regular expression took too many steps",
		[FFE_LIMIT_SUBJECT] = "a text is too long for regular expressions",
		[FFE_LIMIT_PATTERNS] = "too many regular expressions were tried",
		[FFE_LIMIT_ELEMENTS] = "an array has too many elements",
		[FFE_LIMIT_WORK] = "the context is too large for all that is compared with it",
		[FFE_LIMIT_CYCLE] = "references make a cycle",
		[FFE_LIMIT_CHAIN] = "references make too long a chain"};

	return words[limit];
}

void
ffe_result_message(const ffe_set *set, const ffe_result *result, char *buffer, size_t size)
{
	const ffe_doc *culprit =
		result->culprit == FFE_NO_ID ? NULL : ffe_set_doc(set, result->culprit);
	const char *key = result->culprit == FFE_NO_ID ? "" : ffe_set_key(set, result->culprit, NULL);
	const char *what =
		result->culprit != FFE_NO_ID && ffe_set_object(set, result->culprit) == FFE_SEGMENT
			? "segment"
			: "flag";

	buffer[0] = '\0';
	switch (result->status)
	{
		case FFE_FLAG_NOT_FOUND:
			ffe_format(buffer, size, "%s \"%s\" does not exist", what, key);
			break;
		case FFE_FLAG_ARCHIVED:
			ffe_format(buffer, size, "%s \"%s\" is archived", what, key);
			break;
		case FFE_INVALID_CONTEXT:
			ffe_format(buffer, size, "the context is not a JSON object");
			break;
		case FFE_LIMIT_EXCEEDED:
			if (culprit == NULL || culprit->message.len == 0)
			{
				ffe_format(buffer, size, "%s \"%s\" hit a limit: %s", what, key,
						   limit_words(result->limit));
				break;
			}
			/* FALLTHROUGH */
		case FFE_PARSE_ERROR:
		case FFE_NOT_READY:
			if (culprit != NULL && culprit->message.len > 0)
				ffe_format(buffer, size, "%s \"%s\" cannot be read: %.*s", what, key,
						   (int) culprit->message.len, ffe_str(culprit, culprit->message));
			else
				ffe_format(buffer, size, "%s \"%s\" cannot be read", what, key);
			break;
		case FFE_NO_MEMORY:
			ffe_format(buffer, size, "out of memory");
			break;
		case FFE_OK:
		case FFE_TYPE_MISMATCH:
		case FFE_PERMISSION_DENIED:
			break;
	}
}

void
ffe_result_outline(const ffe_result *result, const char *key, size_t len, char *buffer, size_t size)
{
	bool itself = result->doc == NULL || result->doc->status == result->status;
	const char *what = "";
	const char *more = "";

	switch (result->status)
	{
		case FFE_FLAG_NOT_FOUND:
			what = itself ? "does not exist" : "refers to what does not exist";
			break;
		case FFE_FLAG_ARCHIVED:
			what = itself ? "is archived" : "refers to what is archived";
			break;
		case FFE_PARSE_ERROR:
			what = itself ? "cannot be read" : "refers to what cannot be read";
			break;
		case FFE_LIMIT_EXCEEDED:
			what = "hit a limit: ";
			more = limit_words(result->limit);
			break;
		default:
			ffe_result_message(NULL, &(ffe_result){.status = result->status, .culprit = FFE_NO_ID},
							   buffer, size);
			return;
	}
	ffe_format(buffer, size, "flag \"%.*s\" %s%s", ffe_cut(key, len, FFE_MAX_KEY), key, what, more);
}

/* ---------- steps ---------- */

void
ffe_explain(ffe_state *st, uint32_t id, ffe_stage stage, bool matched, const char *path,
			const char *format, ...)
{
	char detail[1024];
	ffe_step step = {stage, id, st->depth, path, matched, detail};
	va_list args;

	va_start(args, format);
	ffe_format_list(detail, sizeof(detail), format, args);
	va_end(args);
	st->trace(st->trace_arg, &step);
}

/* A value of the context in words, short. */
static void
describe_node(const ffe_state *st, const ffe_node *node, char *out, size_t size)
{
	double number;

	switch (node->kind)
	{
		case FFE_STRING:
			ffe_format(out, size, "\"%.*s\"", ffe_cut(node->u.str, node->len, 200), node->u.str);
			break;
		case FFE_NUMBER:
			if (st->reader->number(node, &number))
				ffe_format(out, size, "%.15g", number);
			else
				ffe_format(out, size, "a number too large");
			break;
		case FFE_BOOL:
			ffe_format(out, size, node->u.boolean ? "true" : "false");
			break;
		case FFE_ARRAY:
			ffe_format(out, size, "an array of %u", node->len);
			break;
		case FFE_OBJECT:
			ffe_format(out, size, "an object");
			break;
		default:
			ffe_format(out, size, "(missing)");
			break;
	}
}

static void
describe_scalar(const ffe_doc *doc, uint8_t kind, ffe_ref str, double number, bool boolean,
				char *out, size_t size)
{
	if (kind == FFE_STRING)
		ffe_format(out, size, "\"%.*s\"", ffe_cut(ffe_str(doc, str), str.len, 200),
				   ffe_str(doc, str));
	else if (kind == FFE_NUMBER)
		ffe_format(out, size, "%.15g", number);
	else
		ffe_format(out, size, boolean ? "true" : "false");
}

/* What an operator compares with: the value, or the first and how many there are. */
static void
describe_operand(const ffe_doc *doc, const ffe_test *test, char *out, size_t size)
{
	const ffe_entry *entry;
	char text[32];
	size_t len;

	out[0] = '\0';
	switch ((ffe_op) test->op)
	{
		case FFE_OP_EQUALS:
		case FFE_OP_NOT_EQUALS:
			describe_scalar(doc, test->u.scalar.kind, test->u.scalar.str, test->u.scalar.number,
							test->u.scalar.boolean, out, size);
			break;
		case FFE_OP_IN_LIST:
		case FFE_OP_NOT_IN_LIST:
		case FFE_OP_CONTAINS:
		case FFE_OP_NOT_CONTAINS:
			entry = FFE_AT(doc, test->u.table.entries, ffe_entry);
			describe_scalar(doc, (uint8_t) entry->kind, entry->u.str, entry->u.number,
							entry->u.boolean != 0, out, size);
			len = strlen(out);
			if (test->u.table.entries.len > 1)
				ffe_format(out + len, size - len, " and %u more", test->u.table.entries.len - 1);
			break;
		case FFE_OP_STARTS_WITH:
		case FFE_OP_ENDS_WITH:
			describe_scalar(doc, FFE_STRING, FFE_AT(doc, test->u.list, ffe_ref)[0], 0, false, out,
							size);
			/* FALLTHROUGH */
		case FFE_OP_REGEX:
		case FFE_OP_IN_CIDR:
			len = strlen(out);
			if (test->op == FFE_OP_REGEX || test->op == FFE_OP_IN_CIDR)
				ffe_format(out, size, "%u %s%s", test->u.list.len,
						   test->op == FFE_OP_REGEX ? "pattern" : "network",
						   test->u.list.len == 1 ? "" : "s");
			else if (test->u.list.len > 1)
				ffe_format(out + len, size - len, " and %u more", test->u.list.len - 1);
			break;
		case FFE_OP_GREATER_THAN:
		case FFE_OP_GREATER_OR_EQUAL:
		case FFE_OP_LESS_THAN:
		case FFE_OP_LESS_OR_EQUAL:
			ffe_format(out, size, "%.15g", test->u.number);
			break;
		case FFE_OP_BEFORE:
		case FFE_OP_AFTER:
			ffe_format_time(test->u.time, text);
			ffe_format(out, size, "\"%s\"", text);
			break;
		case FFE_OP_SEMVER_EQUALS:
		case FFE_OP_SEMVER_GREATER:
		case FFE_OP_SEMVER_GREATER_OR_EQUAL:
		case FFE_OP_SEMVER_LESS:
		case FFE_OP_SEMVER_LESS_OR_EQUAL:
			describe_scalar(doc, FFE_STRING, test->u.semver.text, 0, false, out, size);
			break;
		default:
			break;
	}
}

static void
explain_percentage(ffe_state *st, const ffe_set *set, const ffe_doc *doc, uint32_t id,
				   const ffe_test *test, bool matched, const char *path)
{
	ffe_ref salt = test->u.percentage.salt;
	uint64_t work = st->work;
	ffe_status failure = st->failure;
	uint32_t len = 0;
	const char *unit = ffe_state_unit(st, set, test->attr, &len);

	/* an evaluation that is explained counts no more than one that isn't */
	st->work = work;
	st->failure = failure;
	if (unit == NULL || len == 0)
		ffe_explain(st, id, FFE_STAGE_CONDITION, false, path,
					"the context has no unit to hash: nobody is in");
	else
		ffe_explain(st, id, FFE_STAGE_CONDITION, matched, path,
					"bucket %u of \"%.*s%.*s\" %s below %u",
					ffe_bucket_of_hash(ffe_hash_unit(ffe_str(doc, salt), salt.len, unit, len)),
					(int) salt.len, ffe_str(doc, salt), (int) len, unit, matched ? "is" : "is not",
					test->u.percentage.below);
}

void
ffe_explain_test(ffe_state *st, const ffe_set *set, const ffe_doc *doc, uint32_t id,
				 const ffe_test *test, bool matched)
{
	char path[256], actual[256], wanted[256];

	ffe_test_path(doc, test, path, sizeof(path));
	if (test->op == FFE_OP_SEGMENT)
		ffe_explain(st, id, FFE_STAGE_CONDITION, matched, path, "%s segment \"%s\"",
					matched ? "in" : "not in", ffe_set_key(set, test->u.dep.object, NULL));
	else if (test->op == FFE_OP_FLAG)
		ffe_explain(st, id, FFE_STAGE_CONDITION, matched, path, "flag \"%s\" %s variant \"%.*s\"",
					ffe_set_key(set, test->u.dep.object, NULL),
					matched ? "serves" : "doesn't serve", (int) test->u.dep.variant.len,
					ffe_str(doc, test->u.dep.variant));
	else if (test->op == FFE_OP_PERCENTAGE)
		explain_percentage(st, set, doc, id, test, matched, path);
	else
	{
		describe_node(st, &ffe_state_slot(st, set, test->attr)->node, actual, sizeof(actual));
		describe_operand(doc, test, wanted, sizeof(wanted));
		ffe_explain(st, id, FFE_STAGE_CONDITION, matched, path, "%s %s %s%s%s%s",
					set->attrs.items[test->attr].name, actual, ffe_op_names[test->op],
					wanted[0] == '\0' ? "" : " ", wanted, test->ignore_case ? " (any case)" : "");
	}
}
