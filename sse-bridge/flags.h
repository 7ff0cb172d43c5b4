/*
 * sse-bridge/flags.h
 *	  All flags and segments that the bridge may read, compiled: what it serves while the database
 *is away.
 *
 * Definitions are kept as the database wrote them, beside what the engine made of them. Not
 * thread-safe.
 */
#ifndef FLAGS_H
#define FLAGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../src/engine/ffe.h"

typedef struct flags flags;
typedef struct flag_space flag_space; /* a namespace */

/* A flag or segment as it is now. */
typedef struct flag_entry
{
	const char *key;
	int64_t version;
	const char *definition; /* JSON text */
	size_t len;
	bool is_archived;
} flag_entry;

/* NULL when there is no memory. */
extern flags *flags_new(void);
extern void flags_free(flags *all);

/* A namespace by name; NULL where there is none. flags_make_space makes it. */
extern flag_space *flags_space(const flags *all, const char *name);
extern flag_space *flags_make_space(flags *all, const char *name);

/* Calls f for each namespace. */
extern void flags_each_space(const flags *all, void (*f)(void *arg, flag_space *space), void *arg);
extern const char *flags_space_name(const flag_space *space);

/*
 * Puts a definition, or with NULL takes it away. One that the engine can't compile is served as
 * ERROR_FALLBACK, and logged. False when there is no memory: nothing has changed then.
 */
extern bool flags_put(flag_space *space, ffe_object object, const char *key, int64_t version,
					  const char *definition);

/* The entry of a key; false where there is none. It is good until the next flags_put. */
extern bool flags_get(const flag_space *space, ffe_object object, const char *key,
					  flag_entry *entry);

/* What a list is to have; NULL: any. As ff_flags() has it. */
typedef struct flag_filter
{
	const char *state;
	const char *tag;
	const char *owner;
	const char *search; /* in key or description, in any case */
	const char *after;  /* keys after this one */
	unsigned limit;
} flag_filter;

/*
 * Calls f for the entries that match, in the order of their keys. True where there are more than
 * the limit.
 */
extern bool flags_list(flag_space *space, ffe_object object, const flag_filter *filter,
					   void (*f)(void *arg, const flag_entry *entry), void *arg);

/* How many of an object there are, archived ones too. */
extern unsigned flags_count(const flag_space *space, ffe_object object);

/* ---------- evaluating ---------- */

/*
 * Gives what is evaluated next its context, an object of jansson's that must stay in place; NULL is
 * an empty one. False when there is no memory.
 */
extern bool flags_begin(flag_space *space, const json_t *context);

/* An evaluation. Strings lie in the definition: they are good until the next flags_put. */
typedef struct flag_answer
{
	const char *key;
	ffe_result result;
	ffe_value value;
	const char *variant; /* not null-terminated; NULL: none */
	size_t variant_len;
	const char *rule;
	size_t rule_len;
	char message[512]; /* of an error; else "" */
} flag_answer;

/* Evaluates a flag; one that isn't there is an answer, too. */
extern void flags_evaluate(flag_space *space, const char *key, flag_answer *answer);

/* Evaluates every active flag, in the order of keys. */
extern void flags_evaluate_all(flag_space *space, void (*f)(void *arg, const flag_answer *answer),
							   void *arg);

/* The unit of an answer that was exposed: what its bucketing goes by; NULL for none. */
extern const char *flags_unit(flag_space *space, const flag_answer *answer, size_t *len,
							  uint64_t *hash);

#endif /* FLAGS_H */
