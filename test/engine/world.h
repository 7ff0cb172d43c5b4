/*
 * test/engine/world.h
 *	  What the engine's unit tests share: a set of flags to put in and ask, and its assertions.
 *
 * The rule: a test says in JSON what a user would write, and names the answer that
 * doc/flag-format.md promises. JSON in tests is written with ' for ", since C needs \ before the
 * latter; no test needs an apostrophe.
 *
 * Beside what a test asks, every evaluation here is checked to allocate nothing, and to give the
 * same result when it is traced; every world is checked to give all of its memory back.
 */
#ifndef WORLD_H
#define WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/engine/json/ffe_jansson.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---------- memory that is counted, and can run out ---------- */

typedef struct counter
{
	long live;       /* blocks not freed yet */
	long calls;      /* of alloc, those that failed included */
	long fail_at;    /* the call that fails, from 1; 0 for none */
	bool fail_after; /* whether all calls after that one fail too */
} counter;

/* An allocator over malloc(3) that keeps *counter, which must outlive it. */
extern ffe_alloc counter_alloc(counter *counter);

/* ---------- text ---------- */

/* printf into a string that lives as long as the program. So do those of the next two. */
extern const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* length times the character c. */
extern const char *repeat(char c, size_t length);

/* count pieces made by format, which takes one unsigned number (from 0), with commas between. */
extern const char *series(const char *format, unsigned count);

/* Parses JSON written with ' for ". Fails the test where it is none. Freed by json_decref. */
extern json_t *json_from(const char *json);

/* ---------- a set of flags ---------- */

typedef struct world
{
	counter memory;
	ffe_alloc alloc;
	ffe_set *set;
	ffe_state *state;
	int64_t now;     /* current_time */
	json_t *context; /* of the last evaluation */
	ffe_result result;
	long steps; /* that the last evaluation had when it was traced */
} world;

extern world *world_new(void);

/* Frees it all, and fails the test where the engine kept a block. */
extern void world_free(world *w);

/* Compiles a flag (a segment) that must be good, and puts it in. Its key is the member key. */
extern void world_put(world *w, ffe_object object, const char *json);
#define put_flag(w, json) world_put(w, FFE_FLAG, json)
#define put_segment(w, json) world_put(w, FFE_SEGMENT, json)

/* Takes a flag or segment out again, its id stays. */
extern void world_remove(world *w, ffe_object object, const char *key);

/* The id of a key, interned where it is new. */
extern uint32_t world_id(world *w, ffe_object object, const char *key);

/* Sets the context, NULL for none at all, for world_ask. */
extern void world_begin(world *w, const char *context);

/* Evaluates a flag over the context set before. */
extern const ffe_result *world_ask(world *w, const char *flag);

/* Both at once. */
extern const ffe_result *world_evaluate(world *w, const char *flag, const char *context);

/* ---------- assertions ---------- */

/* The variant and the rule of a result as strings, NULL for none. */
extern const char *variant_of(const ffe_result *result);
extern const char *rule_of(const ffe_result *result);

/* Whether a string is UTF-8: what people read must never end in half a character. */
extern bool is_utf8(const char *string);

/*
 * Evaluates and compares: the reason, the variant's key and the rule's id (NULL for none), and
 * that there is no error.
 */
#define expect(w, flag, context, reason, variant, rule)                                            \
	expect_at(w, flag, context, reason, variant, rule, __FILE__, __LINE__)
extern void expect_at(world *w, const char *flag, const char *context, ffe_reason reason,
					  const char *variant, const char *rule, const char *file, int line);

/* Evaluates; the result must be this error, and name culprit as what failed. */
#define expect_error(w, flag, context, status, culprit)                                            \
	expect_error_at(w, flag, context, status, culprit, __FILE__, __LINE__)
extern void expect_error_at(world *w, const char *flag, const char *context, ffe_status status,
							const char *culprit, const char *file, int line);

/*
 * Compiles a definition that must be refused with this status, exactly this path, and a message
 * or hint that has this part.
 */
#define expect_refused(object, json, status, path, part)                                           \
	expect_refused_at(object, json, status, path, part, __FILE__, __LINE__)
extern void expect_refused_at(ffe_object object, const char *json, ffe_status status,
							  const char *path, const char *part, const char *file, int line);

/* Compiles a definition that must be taken. */
#define expect_taken(object, json) expect_taken_at(object, json, __FILE__, __LINE__)
extern void expect_taken_at(ffe_object object, const char *json, const char *file, int line);

/* ---------- tables of conditions ---------- */

/* A condition, a context, and whether the one holds in the other. */
typedef struct row
{
	const char *condition;
	const char *context;
	bool holds;
} row;

/* An operator on an attribute. No value: none is written. No attribute: the context is {}. */
typedef struct op_row
{
	const char *op;
	const char *value;
	const char *attribute;
	bool holds;
} op_row;

/*
 * Checks every row, prints all that are wrong, then fails. Each condition is tried as a rule of
 * a flag, negated, inside all and any, and as a segment.
 */
#define check_rows(rows) check_rows_at(rows, LENGTH(rows), __FILE__, __LINE__)
extern void check_rows_at(const row *rows, size_t count, const char *file, int line);

#define check_op_rows(rows) check_op_rows_at(rows, LENGTH(rows), false, __FILE__, __LINE__)
#define check_op_rows_ignoring_case(rows)                                                          \
	check_op_rows_at(rows, LENGTH(rows), true, __FILE__, __LINE__)
extern void check_op_rows_at(const op_row *rows, size_t count, bool ignore_case, const char *file,
							 int line);

/* A definition, and how it is refused. path NULL: the definition must be taken. */
typedef struct refusal
{
	const char *json;
	const char *path;
	const char *part;
} refusal;

/*
 * Checks every definition, prints all that are wrong, then fails. format makes a definition of
 * each row's json in place of its %s, for what all rows have in common; NULL where json is the
 * whole. All that are refused are so with the same status.
 */
#define check_refusals(object, format, status, rows)                                               \
	check_refusals_at(object, format, status, rows, LENGTH(rows), __FILE__, __LINE__)
extern void check_refusals_at(ffe_object object, const char *format, ffe_status status,
							  const refusal *rows, size_t count, const char *file, int line);

/*
 * json with the value at a path (written as errors write it: "rules[0].if.attr") replaced or
 * added; with value NULL, taken out.
 */
extern const char *changed(const char *json, const char *path, const char *value);

/* ---------- files ---------- */

/* A file beside the tests, or of the shared suites; NULL where there is none. Owned by caller. */
extern json_t *test_file(const char *name);
extern json_t *shared_file(const char *name);

#endif /* WORLD_H */
