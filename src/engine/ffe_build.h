/*
 * src/engine/ffe_build.h
 *	  What compiling needs: a growing block, the path to where we are, and one way to refuse.
 *
 * The rule: functions that return bool have filled in the error when they return false, and the
 * caller does nothing but return false in turn. ffe_compile frees everything in one place.
 */
#ifndef FFE_BUILD_H
#define FFE_BUILD_H

#include "ffe_internal.h"

/* A growing array. */
typedef struct ffe_vec
{
	char *data;
	uint32_t count;
	uint32_t capacity;
	uint32_t width; /* bytes of an element */
} ffe_vec;

/* A regular expression to be compiled at the end, when nothing else can fail. */
typedef struct ffe_pattern
{
	ffe_ref text;
	bool ignore_case;
	char path[192];
} ffe_pattern;

typedef struct ffe_builder
{
	ffe_set *set;
	const ffe_reader *reader;
	ffe_error *error;
	ffe_object object;
	ffe_vec block;    /* the document; its header comes first */
	ffe_vec tests;    /* ffe_test, on_true and on_false holding labels */
	ffe_vec groups;   /* ffe_group */
	ffe_vec rules;    /* ffe_rule */
	ffe_vec labels;   /* uint32_t: the test that a label stands for */
	ffe_vec deps;     /* uint32_t */
	ffe_vec patterns; /* ffe_pattern */
	char path[512];
	size_t path_len;
} ffe_builder;

/* The header while it is being filled in. Appending to the block moves it: never keep it. */
static inline ffe_doc *
ffe_header(ffe_builder *b)
{
	return (ffe_doc *) (void *) b->block.data;
}

#define FFE_VEC_AT(vec, type, i) (&((type *) (void *) (vec).data)[i])

/* Appends one zeroed element. NULL, with the error set, without memory. */
extern void *ffe_append(ffe_builder *b, ffe_vec *vec);

/* Makes room for size zeroed bytes in the block; the offset in *off. */
extern bool ffe_block_reserve(ffe_builder *b, size_t size, uint32_t *off);
extern bool ffe_block_string(ffe_builder *b, const char *s, size_t len, ffe_ref *out);
extern bool ffe_block_folded(ffe_builder *b, const char *s, size_t len, ffe_ref *out);
extern bool ffe_block_vec(ffe_builder *b, const ffe_vec *vec, ffe_ref *out);

/* Going down into a member or an element; ffe_leave with what they returned goes back. */
extern size_t ffe_enter_member(ffe_builder *b, const char *name, size_t len);
extern size_t ffe_enter_element(ffe_builder *b, uint32_t i);
extern void ffe_leave(ffe_builder *b, size_t mark);

/* Refuses the definition at the present path. Always returns false. */
extern bool ffe_refuse(ffe_builder *b, const char *hint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern bool ffe_refuse_limit(ffe_builder *b, const char *what, size_t found, size_t limit);
extern bool ffe_refuse_kind(ffe_builder *b, const char *expected, const ffe_node *found);
extern bool ffe_no_memory(ffe_builder *b);

/* A set of kinds, for ffe_take. */
#define FFE_IS(kind) (1u << (kind))
#define FFE_IS_SCALAR (FFE_IS(FFE_BOOL) | FFE_IS(FFE_NUMBER) | FFE_IS(FFE_STRING))

/*
 * The member called name, which must be of one of the kinds. Where it is null or not there, *out
 * is of kind FFE_MISSING, which is refused when required.
 */
extern bool ffe_take(ffe_builder *b, const ffe_node *object, const char *name, unsigned kinds,
					 bool required, ffe_node *out);

/* Refuses members that are not in names (NULL at the end). */
extern bool ffe_check_members(ffe_builder *b, const ffe_node *object, const char *const *names);

extern bool ffe_node_is(const ffe_node *node, const char *word);
extern bool ffe_take_key(ffe_builder *b, const ffe_node *object, const char *name, bool required,
						 ffe_node *out);
extern bool ffe_take_text(ffe_builder *b, const ffe_node *object, const char *name, size_t limit);

/* An optional RFC 3339 time; FFE_NO_TIME without one. */
extern bool ffe_take_time(ffe_builder *b, const ffe_node *object, const char *name, int64_t *out);

/* A percentage as thousandths of a percent: 12.5 is 12500. */
extern bool ffe_read_weight(ffe_builder *b, const ffe_node *node, uint32_t *out);

/* The attribute in member `by`; FFE_BY_USER without one. */
extern bool ffe_take_by(ffe_builder *b, const ffe_node *object, uint32_t *out);

/* Interns an attribute path after checking it. */
extern bool ffe_read_attribute(ffe_builder *b, const ffe_node *node, uint32_t *out);

/* Writes salt, suffix and the colon. */
extern bool ffe_block_salt(ffe_builder *b, const ffe_node *salt, const char *suffix, ffe_ref *out);

/* Notes that the document refers to an object. */
extern bool ffe_depend(ffe_builder *b, ffe_object object, const ffe_node *key, uint32_t *out);

/* Tables: made for `count` entries at most, then filled. */
extern bool ffe_table_make(ffe_builder *b, uint32_t count, ffe_table *table);

/*
 * Adds a scalar; *found is the tag of the equal entry that is there already, else tag.
 * table->entries.len counts the entries.
 */
extern bool ffe_table_add(ffe_builder *b, ffe_table *table, const ffe_node *node, bool ignore_case,
						  int32_t tag, int32_t *found);

/* Compiles a condition: where it begins in *entry. kind says what it stands in. */
extern bool ffe_compile_condition(ffe_builder *b, const ffe_node *condition, ffe_group_kind kind,
								  uint32_t position, uint32_t *entry);

/* The byte order of names. */
extern int ffe_compare_names(const ffe_doc *doc, ffe_ref a, const char *b, size_t b_len);

/* Takes the member that names one of the flag's variants. */
extern bool ffe_take_variant(ffe_builder *b, const ffe_node *object, const char *member,
							 int32_t *out);

/* Calls read for each element of an optional array member. */
extern bool ffe_each_element(ffe_builder *b, const ffe_node *root, const char *name, uint32_t limit,
							 bool (*read)(ffe_builder *b, const ffe_node *node, uint32_t i));

/*
 * Adds a list of user ids to a table; one who is there under another tag is refused: `where` says
 * what that other place is.
 */
extern bool ffe_add_users(ffe_builder *b, ffe_table *table, const ffe_node *users, int32_t tag,
						  const char *where);

/* Checks a value against the flag's type and stores it. */
extern bool ffe_read_value(ffe_builder *b, ffe_type type, const ffe_node *node, ffe_variant *out);
extern bool ffe_read_type(ffe_builder *b, const ffe_node *root, ffe_type *type);

/* The parts of a flag, each from its own member of root. */
extern bool ffe_compile_values(ffe_builder *b, const ffe_node *root);
extern bool ffe_compile_requires(ffe_builder *b, const ffe_node *root);
extern bool ffe_compile_overrides(ffe_builder *b, const ffe_node *root);
extern bool ffe_compile_rules(ffe_builder *b, const ffe_node *root);
extern bool ffe_compile_rollout(ffe_builder *b, const ffe_node *root);
extern bool ffe_compile_bucketing(ffe_builder *b, const ffe_node *root, const ffe_node *key);
extern bool ffe_compile_experiment(ffe_builder *b, const ffe_node *root);

#endif /* FFE_BUILD_H */
