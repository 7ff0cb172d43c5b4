/*
 * src/engine/ffe_compile.c
 *	  Compiling flags and segments.
 *
 * The rule: every member is checked, evaluated or not, and what passes can be evaluated without
 * another check. Regular expressions come last, because PCRE2's memory is not ours to lose when a
 * host's allocator or copy function gives up by longjmp.
 */
#include "ffe_build.h"

/* ---------- members that are not evaluated ---------- */

static bool
check_tag(ffe_builder *b, const ffe_node *node, uint32_t i)
{
	(void) i;
	if (node->kind != FFE_STRING || node->len == 0)
		return ffe_refuse_kind(b, "a string that is not empty", node);
	return node->len <= FFE_MAX_KEY ||
		   ffe_refuse_limit(b, "bytes of a tag", node->len, FFE_MAX_KEY);
}

static bool
check_time(ffe_builder *b, const ffe_node *root, const char *name)
{
	int64_t time;

	return ffe_take_time(b, root, name, &time);
}

static bool
compile_version(ffe_builder *b, const ffe_node *root)
{
	ffe_node version;
	int64_t number = 0;

	if (!ffe_take(b, root, "version", FFE_IS(FFE_NUMBER), false, &version))
		return false;
	if (version.kind == FFE_NUMBER && (!b->reader->integer(&version, 0, &number) || number < 0))
	{
		ffe_enter_member(b, "version", 7);
		return ffe_refuse_kind(b, "a whole number", &version);
	}
	ffe_header(b)->version = number;
	return true;
}

/* What flags and segments have in common: key, description, state, version, times. */
static bool
compile_common(ffe_builder *b, const ffe_node *root, ffe_node *key)
{
	ffe_node state;
	bool archived;

	if (!ffe_take_key(b, root, "key", true, key) ||
		!ffe_take_text(b, root, "description", FFE_MAX_TEXT) ||
		!ffe_take(b, root, "state", FFE_IS(FFE_STRING), false, &state) ||
		!compile_version(b, root) || !check_time(b, root, "created_at") ||
		!check_time(b, root, "updated_at"))
		return false;
	archived = ffe_node_is(&state, "archived");
	if (state.kind == FFE_STRING && !archived && !ffe_node_is(&state, "active"))
	{
		ffe_enter_member(b, "state", 5);
		return ffe_refuse_kind(b, "\"active\" or \"archived\"", &state);
	}
	ffe_header(b)->status = archived ? FFE_FLAG_ARCHIVED : FFE_OK;
	return true;
}

/* ---------- documents ---------- */

static bool
compile_flag(ffe_builder *b, const ffe_node *root)
{
	static const char *const members[] = {"key",        "type",      "description",
										  "state",      "enabled",   "default_value",
										  "variants",   "overrides", "rules",
										  "rollout",    "requires",  "bucketing",
										  "experiment", "tags",      "owner",
										  "expires_at", "version",   "created_at",
										  "updated_at", NULL};
	ffe_node key, enabled;

	if (!ffe_check_members(b, root, members) || !compile_common(b, root, &key) ||
		!ffe_take(b, root, "enabled", FFE_IS(FFE_BOOL), false, &enabled) ||
		!ffe_take_text(b, root, "owner", FFE_MAX_TEXT) || !check_time(b, root, "expires_at") ||
		!ffe_each_element(b, root, "tags", FFE_MAX_TAGS, check_tag))
		return false;
	ffe_header(b)->enabled = enabled.kind == FFE_MISSING || enabled.u.boolean;
	return ffe_compile_values(b, root) && ffe_compile_requires(b, root) &&
		   ffe_compile_overrides(b, root) && ffe_compile_rules(b, root) &&
		   ffe_compile_rollout(b, root) && ffe_compile_bucketing(b, root, &key) &&
		   ffe_compile_experiment(b, root);
}

/* included or excluded; each has a tag, so that a user in both is found. */
static bool
segment_users(ffe_builder *b, const ffe_node *root, const char *name, ffe_table *table)
{
	ffe_node list;
	size_t mark;

	if (!ffe_take(b, root, name, FFE_IS(FFE_ARRAY), false, &list))
		return false;
	if (list.kind == FFE_MISSING || list.len == 0)
		return true;
	mark = ffe_enter_member(b, name, strlen(name));
	if (!ffe_table_make(b, list.len, table) || !ffe_add_users(b, table, &list, 0, ""))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->reads_context = true;
	return true;
}

/* Refuses a user who is both included and excluded. */
static bool
check_both(ffe_builder *b, const ffe_node *root)
{
	const ffe_doc *doc = ffe_header(b);
	ffe_node list, user;
	size_t mark = ffe_enter_member(b, "excluded", 8);

	b->reader->member(root, "excluded", 8, &list);
	for (uint32_t i = 0; list.kind == FFE_ARRAY && i < list.len; i++)
	{
		b->reader->element(&list, i, &user);
		if (ffe_table_string(doc, &doc->users, user.u.str, user.len,
							 ffe_hash_string(user.u.str, user.len)) != NULL)
		{
			ffe_enter_element(b, i);
			return ffe_refuse(b, NULL, "user \"%.*s\" is included too",
							  ffe_cut(user.u.str, user.len, 60), user.u.str);
		}
	}
	ffe_leave(b, mark);
	return true;
}

static bool
compile_segment(ffe_builder *b, const ffe_node *root)
{
	static const char *const members[] = {"key",        "description", "state",   "if",
										  "included",   "excluded",    "version", "created_at",
										  "updated_at", NULL};
	ffe_table included, excluded;
	ffe_node key, condition;
	uint32_t entry = FFE_NO;
	size_t mark;

	memset(&included, 0, sizeof(included));
	memset(&excluded, 0, sizeof(excluded));
	if (!ffe_check_members(b, root, members) || !compile_common(b, root, &key) ||
		!segment_users(b, root, "included", &included) ||
		!segment_users(b, root, "excluded", &excluded) ||
		!ffe_take(b, root, "if", FFE_IS(FFE_OBJECT), false, &condition))
		return false;
	ffe_header(b)->users = included;
	ffe_header(b)->excluded = excluded;
	if (!check_both(b, root))
		return false;
	if (condition.kind == FFE_MISSING && included.entries.len == 0)
		return ffe_refuse(b, "Give it a condition (\"if\") or users (\"included\").",
						  "the segment can't have anybody in it");
	mark = ffe_enter_member(b, "if", 2);
	if (condition.kind == FFE_OBJECT &&
		!ffe_compile_condition(b, &condition, FFE_IN_SEGMENT, 0, &entry))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->entry = entry;
	return true;
}

/* ---------- putting it together ---------- */

/* Turns labels into the tests that they stand for. */
static void
resolve_labels(ffe_builder *b)
{
	for (uint32_t i = 0; i < b->tests.count; i++)
	{
		ffe_test *test = FFE_VEC_AT(b->tests, ffe_test, i);

		if (test->on_true < FFE_NO)
			test->on_true = *FFE_VEC_AT(b->labels, uint32_t, test->on_true);
		if (test->on_false < FFE_NO)
			test->on_false = *FFE_VEC_AT(b->labels, uint32_t, test->on_false);
	}
}

static bool
store_arrays(ffe_builder *b)
{
	ffe_ref tests, groups, rules, deps;
	uint32_t patterns;

	resolve_labels(b);
	if (!ffe_block_vec(b, &b->tests, &tests) || !ffe_block_vec(b, &b->groups, &groups) ||
		!ffe_block_vec(b, &b->rules, &rules) || !ffe_block_vec(b, &b->deps, &deps) ||
		!ffe_block_reserve(b, sizeof(pcre2_code *) * b->patterns.count, &patterns))
		return false;
	ffe_header(b)->tests = tests;
	ffe_header(b)->groups = groups;
	ffe_header(b)->rules = rules;
	ffe_header(b)->deps = deps;
	ffe_header(b)->patterns = (ffe_ref){patterns, 0};
	ffe_header(b)->object = (uint8_t) b->object;
	ffe_header(b)->size = b->block.count;
	return true;
}

/* Compiles one regular expression. A machine that allows no JIT gets PCRE2's interpreter. */
static pcre2_code *
compile_pattern(ffe_builder *b, const ffe_doc *doc, const ffe_pattern *pattern)
{
	uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY |
					   (pattern->ignore_case ? PCRE2_CASELESS : 0);
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code = NULL;
	PCRE2_UCHAR text[128];
	PCRE2_SIZE offset = 0;
	int error = PCRE2_ERROR_NOMEMORY;

	if (context != NULL)
	{
		pcre2_set_parens_nest_limit(context, FFE_REGEX_PARENS_LIMIT);
		code = pcre2_compile((PCRE2_SPTR) ffe_str(doc, pattern->text), pattern->text.len, options,
							 &error, &offset, context);
		pcre2_compile_context_free(context);
	}
	if (code != NULL)
	{
		(void) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
		return code;
	}
	ffe_format(b->path, sizeof(b->path), "%s", pattern->path);
	if (context == NULL || error == PCRE2_ERROR_HEAP_FAILED || error == PCRE2_ERROR_NOMEMORY)
	{
		(void) ffe_no_memory(b);
		return NULL;
	}
	pcre2_get_error_message(error, text, sizeof(text));
	(void) ffe_refuse(b, "Patterns are Perl-compatible regular expressions (PCRE2).",
					  "regular expression, at character %zu: %s", offset + 1, (char *) text);
	return NULL;
}

static bool
compile_patterns(ffe_builder *b, ffe_doc *doc)
{
	pcre2_code **codes = (pcre2_code **) (void *) ((char *) doc + doc->patterns.off);

	for (uint32_t i = 0; i < b->patterns.count; i++)
	{
		size_t code_size = 0, jit_size = 0;

		codes[i] = compile_pattern(b, doc, FFE_VEC_AT(b->patterns, ffe_pattern, i));
		if (codes[i] == NULL)
			return false;
		doc->patterns.len++;
		pcre2_pattern_info(codes[i], PCRE2_INFO_SIZE, &code_size);
		pcre2_pattern_info(codes[i], PCRE2_INFO_JITSIZE, &jit_size);
		doc->regex_size += code_size + jit_size;
		doc->all_jit = (i == 0 || doc->all_jit) && jit_size > 0;
	}
	return true;
}

/* The block in a piece of memory of its exact size. */
static ffe_doc *
finish(ffe_builder *b)
{
	ffe_doc *doc = b->set->alloc.alloc(b->set->alloc.arg, b->block.count);

	if (doc == NULL)
	{
		(void) ffe_no_memory(b);
		return NULL;
	}
	memcpy(doc, b->block.data, b->block.count);
	b->path_len = 0;
	if (!compile_patterns(b, doc))
	{
		ffe_doc_free(b->set, doc);
		return NULL;
	}
	return doc;
}

static bool
builder_start(ffe_builder *b, ffe_set *set, const ffe_reader *reader, ffe_object object,
			  ffe_error *error)
{
	uint32_t off;

	memset(b, 0, sizeof(*b));
	memset(error, 0, sizeof(*error));
	b->set = set;
	b->reader = reader;
	b->error = error;
	b->object = object;
	b->block.width = 1;
	b->tests.width = sizeof(ffe_test);
	b->groups.width = sizeof(ffe_group);
	b->rules.width = sizeof(ffe_rule);
	b->labels.width = sizeof(uint32_t);
	b->deps.width = sizeof(uint32_t);
	b->patterns.width = sizeof(ffe_pattern);
	if (!ffe_block_reserve(b, sizeof(ffe_doc), &off))
		return false;
	ffe_header(b)->default_variant = -1;
	ffe_header(b)->experiment_start = FFE_NO_TIME;
	ffe_header(b)->entry = FFE_NO;
	return true;
}

static void
builder_end(ffe_builder *b)
{
	ffe_vec *const all[] = {&b->block,  &b->tests, &b->groups,  &b->rules,
							&b->labels, &b->deps,  &b->patterns};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
	{
		if (all[i]->data != NULL)
			b->set->alloc.free(b->set->alloc.arg, all[i]->data);
	}
}

ffe_status
ffe_compile(ffe_set *set, ffe_object object, const ffe_reader *reader, const ffe_node *root,
			ffe_doc **doc, ffe_error *error)
{
	ffe_builder b;

	*doc = NULL;
	if (builder_start(&b, set, reader, object, error))
	{
		if (root->kind != FFE_OBJECT)
			(void) ffe_refuse_kind(&b, "an object", root);
		else if ((object == FFE_FLAG ? compile_flag : compile_segment)(&b, root) &&
				 store_arrays(&b))
			*doc = finish(&b);
	}
	builder_end(&b);
	return *doc == NULL ? error->status : FFE_OK;
}

/* What can be read of a damaged flag: type, default value, version. */
static void
salvage(ffe_builder *b, const ffe_node *root)
{
	ffe_variant fallback;
	ffe_node node;
	ffe_type type = FFE_TYPE_BOOLEAN;

	if (root->kind != FFE_OBJECT)
		return;
	(void) compile_version(b, root);
	ffe_leave(b, 0);
	memset(&fallback, 0, sizeof(fallback));
	b->reader->member(root, "default_value", 13, &node);
	if (!ffe_read_type(b, root, &type) || !ffe_read_value(b, type, &node, &fallback))
		return;
	ffe_header(b)->fallback = fallback;
	ffe_header(b)->has_default = true;
}

ffe_doc *
ffe_compile_broken(ffe_set *set, const ffe_reader *reader, const ffe_node *root, ffe_status status,
				   const char *message)
{
	ffe_doc *doc = NULL;
	ffe_builder b;
	ffe_error error;
	ffe_ref text;

	if (builder_start(&b, set, reader, FFE_FLAG, &error))
	{
		salvage(&b, root);
		if (ffe_block_string(&b, message, strlen(message), &text) && store_arrays(&b))
		{
			ffe_header(&b)->status = (uint8_t) status;
			ffe_header(&b)->message = text;
			doc = finish(&b);
		}
	}
	builder_end(&b);
	return doc;
}

void
ffe_doc_free(const ffe_set *set, ffe_doc *doc)
{
	pcre2_code *const *codes;

	if (doc == NULL)
		return;
	codes = (pcre2_code *const *) (const void *) ((const char *) doc + doc->patterns.off);
	for (uint32_t i = 0; i < doc->patterns.len; i++)
		pcre2_code_free(codes[i]);
	set->alloc.free(set->alloc.arg, doc);
}
