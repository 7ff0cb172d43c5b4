/*
 * src/engine/ffe.h
 *	  The flag engine: what the server, the bridge and the client SDK share.
 *
 * Plain C11. It does no I/O, has no mutable globals, never exits, logs or longjmps, and includes
 * no header of any host. A definition is compiled once into one immutable block; evaluating it
 * allocates nothing.
 *
 * The life of a host:
 *
 *		ffe_set *set = ffe_set_new(&alloc);				a namespace of flags and segments
 *		uint32_t id = ffe_set_intern(set, FFE_FLAG, "beta", 4);
 *		ffe_doc *doc;
 *		ffe_compile(set, FFE_FLAG, &reader, definition, &doc, &error);
 *		ffe_set_put(set, id, doc);						and the same for all it refers to
 *
 *		ffe_state *state = ffe_state_new(&alloc);		one for each thread
 *		ffe_state_reserve(state, set);					after every change of the set
 *		ffe_state_begin(state, &reader, context, now);	for each context
 *		ffe_evaluate(state, set, id, &result);			as many flags as wanted
 *
 * Thread-safety: functions that take a non-const ffe_set or ffe_doc need the caller's exclusive
 * use of it. Any number of threads may evaluate over one const set, each with its own ffe_state.
 */
#ifndef FFE_H
#define FFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ffe_limits.h"

/* ---------- memory ---------- */

/*
 * Where the engine gets memory. alloc returns NULL when there is none (it must not longjmp);
 * the engine then reports FFE_NO_MEMORY. Blocks must be aligned to 8 bytes. free is never
 * called with NULL. Both are called with arg as their first parameter.
 */
typedef struct ffe_alloc
{
	void *(*alloc)(void *arg, size_t size);
	void (*free)(void *arg, void *block);
	void *arg;
} ffe_alloc;

/* An allocator over malloc(3) and free(3). */
extern const ffe_alloc ffe_malloc;

/* ---------- reading JSON, wherever it lies ---------- */

typedef enum ffe_kind
{
	FFE_MISSING, /* no such member */
	FFE_NULL,
	FFE_BOOL,
	FFE_NUMBER,
	FFE_STRING,
	FFE_ARRAY,
	FFE_OBJECT
} ffe_kind;

/*
 * A JSON node by value. The host owns what it points to, which must stay in place while the
 * engine holds the node: for a definition during ffe_compile, for a context from
 * ffe_state_begin to the last ffe_evaluate over it.
 */
typedef struct ffe_node
{
	ffe_kind kind;
	uint32_t len; /* string: bytes; array: elements; object: members */
	union
	{
		bool boolean;     /* FFE_BOOL */
		const char *str;  /* FFE_STRING: valid UTF-8 without U+0000, not NUL-terminated */
		const void *host; /* FFE_NUMBER, FFE_ARRAY, FFE_OBJECT: the reader's own business */
	} u;
} ffe_node;

/* The place of an iteration over an object. Start with all bytes zero. */
typedef struct ffe_iter
{
	const void *host;
	uint32_t index;
} ffe_iter;

/*
 * How to walk a JSON document. All functions are total: they neither fail nor longjmp, except
 * copy, which may do what the host wants when it is out of memory.
 */
typedef struct ffe_reader
{
	/* The member called name of an object; false, with *out of kind FFE_MISSING, without one. */
	bool (*member)(const ffe_node *object, const char *name, size_t len, ffe_node *out);

	/* Element i (from 0, below array->len) of an array. */
	void (*element)(const ffe_node *array, uint32_t i, ffe_node *out);

	/* The next member of an object in any order, false at the end. *name is an FFE_STRING. */
	bool (*next)(const ffe_node *object, ffe_iter *iter, ffe_node *name, ffe_node *value);

	/* A number as an IEEE double (nearest); false where it is not finite or out of range. */
	bool (*number)(const ffe_node *number, double *out);

	/*
	 * The number times 10^decimals (0 to 3), where that is exactly an integer within the limits of
	 * a double's (2^53) times 10^decimals; else false. A reader that has only a double takes the
	 * decimals that lead to it.
	 */
	bool (*integer)(const ffe_node *number, int decimals, int64_t *out);

	/*
	 * Writes a node in the host's own form of a value, to be handed back by ffe_result_value.
	 * Returns the bytes needed; writes nothing when that is more than size. dst is aligned to 8.
	 */
	size_t (*copy)(const ffe_node *node, void *dst, size_t size);
} ffe_reader;

/* ---------- what can go wrong ---------- */

/*
 * Statuses. ffe_status_name gives the word that users see as error_code; where OpenFeature has
 * a code for it, it is OpenFeature's.
 */
typedef enum ffe_status
{
	FFE_OK,
	FFE_FLAG_NOT_FOUND,    /* no such flag, or a reference to a flag or segment that is not there */
	FFE_FLAG_ARCHIVED,     /* the flag, or one it depends on, is archived */
	FFE_PARSE_ERROR,       /* a definition that cannot be read */
	FFE_TYPE_MISMATCH,     /* the caller wants another type than the flag's (set by hosts) */
	FFE_INVALID_CONTEXT,   /* the context is not an object */
	FFE_LIMIT_EXCEEDED,    /* a bound of ffe_limits.h was hit, or flags refer to one another */
	FFE_PERMISSION_DENIED, /* set by hosts */
	FFE_NOT_READY,         /* set by hosts: flags can't be reached now */
	FFE_NO_MEMORY
} ffe_status;

/* "FLAG_NOT_FOUND" and so on; a static string. */
extern const char *ffe_status_name(ffe_status status);

/*
 * Why a definition is refused. All strings are NUL-terminated UTF-8, cut at a character where
 * they are too long for their buffer.
 */
typedef struct ffe_error
{
	ffe_status status;
	char path[256];    /* "rules[2].if.all[0].op"; empty for the document itself */
	char message[384]; /* what was found: "unknown operator \"equal\"" */
	char hint[512];    /* what was expected, or what to do; may be empty */
} ffe_error;

/* ---------- sets of compiled flags and segments ---------- */

typedef enum ffe_object
{
	FFE_FLAG,
	FFE_SEGMENT
} ffe_object;

typedef struct ffe_set ffe_set;
typedef struct ffe_doc ffe_doc;

#define FFE_NO_ID UINT32_MAX

/*
 * ffe_set_new makes an empty set, or returns NULL when there is no memory. The set keeps *alloc
 * by value and uses it for all it holds, documents compiled for it included.
 */
extern ffe_set *ffe_set_new(const ffe_alloc *alloc);

/* Frees the set with every document that was put into it. NULL is allowed. */
extern void ffe_set_free(ffe_set *set);

/*
 * ffe_set_intern gives a flag or segment its id in the set: a small number that stays the same
 * for the life of the set. The object need not exist. FFE_NO_ID when there is no memory.
 */
extern uint32_t ffe_set_intern(ffe_set *set, ffe_object object, const char *key, size_t len);

/* The id that a key has, or FFE_NO_ID where it was never interned. */
extern uint32_t ffe_set_find(const ffe_set *set, ffe_object object, const char *key, size_t len);

/* Ids run from 0 to ffe_set_count(set) - 1, flags and segments in one sequence. */
extern uint32_t ffe_set_count(const ffe_set *set);
extern ffe_object ffe_set_object(const ffe_set *set, uint32_t id);

/* The key of an id, NUL-terminated, owned by the set. len may be NULL. */
extern const char *ffe_set_key(const ffe_set *set, uint32_t id, size_t *len);

/*
 * ffe_set_put makes doc (or, with NULL, nothing) the definition of id and frees the one it had.
 * The set owns doc from then on. Never call it while a thread evaluates over the set.
 */
extern void ffe_set_put(ffe_set *set, uint32_t id, ffe_doc *doc);

/* The definition of id, or NULL. */
extern const ffe_doc *ffe_set_doc(const ffe_set *set, uint32_t id);

/* Bytes that the set holds beside its documents (keys, attribute names, tables). */
extern size_t ffe_set_size(const ffe_set *set);

/* ---------- compiling ---------- */

/*
 * ffe_compile checks a definition fully and compiles it. root is the document of doc/flag-format.md
 * (a JSON object). Attributes and references are interned in set, and the result must only be put
 * into that set. On success *doc belongs to the caller until ffe_set_put or ffe_doc_free.
 *
 * Otherwise *doc is NULL, *error says where and why, and the status is FFE_PARSE_ERROR (the
 * definition is wrong), FFE_LIMIT_EXCEEDED (it is too large) or FFE_NO_MEMORY.
 *
 * Whether what it refers to exists, and whether references make a cycle, is for the host to see:
 * it has the other documents. ffe_doc_dependency lists them.
 */
extern ffe_status ffe_compile(ffe_set *set, ffe_object object, const ffe_reader *reader,
							  const ffe_node *root, ffe_doc **doc, ffe_error *error);

/*
 * ffe_compile_broken makes the stand-in of a flag that could not be compiled: evaluating it
 * answers ERROR_FALLBACK with status, and the flag's default_value where that can still be read.
 * root may be of any kind. NULL when there is no memory.
 */
extern ffe_doc *ffe_compile_broken(ffe_set *set, const ffe_reader *reader, const ffe_node *root,
								   ffe_status status, const char *message);

/* Frees a document that was not put into the set it was compiled for. NULL is allowed. */
extern void ffe_doc_free(const ffe_set *set, ffe_doc *doc);

/* Bytes of memory that the document takes, compiled regular expressions included. */
extern size_t ffe_doc_size(const ffe_doc *doc);

/*
 * What a document refers to: dependency number i (from 0) as the set's id, FFE_NO_ID at the end.
 * Each object is listed once.
 */
extern uint32_t ffe_doc_dependency(const ffe_doc *doc, uint32_t i);

/*
 * Every place where a document names a variant of another flag: number i (from 0) as the flag's
 * id, the variant's name (not NUL-terminated, inside doc) and the JSON path of the place, written
 * to path and cut to size bytes. False at the end.
 */
extern bool ffe_doc_wanted_variant(const ffe_set *set, const ffe_doc *doc, uint32_t i,
								   uint32_t *flag, const char **variant, size_t *len, char *path,
								   size_t size);

/*
 * Where a document first refers to an object that it depends on: the JSON path, written to path and
 * cut to size bytes.
 */
extern void ffe_doc_reference_path(const ffe_doc *doc, uint32_t dep, char *path, size_t size);

/* Whether a flag has a variant of this name. */
extern bool ffe_doc_has_variant(const ffe_doc *doc, const char *variant, size_t len);

/* The variant that a flag's default is (not NUL-terminated, inside doc), or NULL. */
extern const char *ffe_doc_default_variant(const ffe_doc *doc, size_t *len);

/* Whether evaluating the document can look at the context (its dependencies apart). */
extern bool ffe_doc_reads_context(const ffe_doc *doc);

/* FFE_OK, FFE_FLAG_ARCHIVED for an archived flag, or what ffe_compile_broken was told. */
extern ffe_status ffe_doc_status(const ffe_doc *doc);

/*
 * Whether a string can be the key of a flag or segment, or the name of a variant:
 * [A-Za-z0-9][A-Za-z0-9._-]{0,254}.
 */
extern bool ffe_valid_key(const char *s, size_t len);

/* Reads a time of RFC 3339, in microseconds since 1970-01-01 00:00 UTC; false where it is none. */
extern bool ffe_parse_time(const char *s, size_t len, int64_t *out);

/* ---------- evaluating ---------- */

typedef enum ffe_reason
{
	FFE_ERROR_FALLBACK,
	FFE_KILL_SWITCH,
	FFE_PREREQUISITE_FAILED,
	FFE_USER_OVERRIDE,
	FFE_RULE_MATCH,
	FFE_ROLLOUT,
	FFE_DEFAULT
} ffe_reason;

#define FFE_REASON_COUNT 7

/* Which limit an evaluation hit. */
typedef enum ffe_limit
{
	FFE_LIMIT_DEFINITION, /* the definition is too large */
	FFE_LIMIT_PATTERN,    /* a regular expression took too many steps */
	FFE_LIMIT_SUBJECT,    /* a text is too long for regular expressions */
	FFE_LIMIT_PATTERNS,   /* too many regular expressions were tried */
	FFE_LIMIT_ELEMENTS,   /* an array is too long */
	FFE_LIMIT_WORK,       /* FFE_WORK_LIMIT */
	FFE_LIMIT_CYCLE,      /* references make a cycle */
	FFE_LIMIT_CHAIN       /* references make too long a chain */
} ffe_limit;

/* "RULE_MATCH" and so on; a static string. */
extern const char *ffe_reason_name(ffe_reason reason);

typedef struct ffe_result
{
	const ffe_doc *doc; /* the flag's document; NULL where there is none */
	ffe_reason reason;
	ffe_status status; /* FFE_OK unless reason is FFE_ERROR_FALLBACK */
	uint32_t culprit;  /* on error: the id of the flag or segment that failed, or FFE_NO_ID */
	int32_t variant;   /* number of the variant served, -1 for a default that no variant has */
	int32_t rule;      /* number of the rule that answered, -1 where none did */
	bool exposed;      /* an active experiment served this variant: an exposure */
	ffe_limit limit;   /* where status is FFE_LIMIT_EXCEEDED; else anything */

	/* what ffe_result_unit gives, where the evaluation came to hash it; else NULL */
	const char *unit;
	uint32_t unit_len;
	uint64_t unit_hash;
} ffe_result;

typedef enum ffe_type
{
	FFE_TYPE_BOOLEAN,
	FFE_TYPE_STRING,
	FFE_TYPE_NUMBER,
	FFE_TYPE_JSON
} ffe_type;

/*
 * A value served. Pointers lie in the document. kind says which of boolean, number and str is
 * set: FFE_BOOL, FFE_NUMBER, FFE_STRING, and any kind but these has only the copy; FFE_MISSING
 * where there is no value. copy is what the reader's copy function wrote, for every kind but
 * FFE_MISSING; NULL for the values of the implicit variants on and off.
 */
typedef struct ffe_value
{
	ffe_kind kind;
	bool boolean;
	double number;
	const char *str;
	size_t str_len;
	const void *copy;
	size_t copy_len;
} ffe_value;

typedef struct ffe_state ffe_state;

/*
 * ffe_state_new makes the working memory of one thread (slots of attributes, memory of regular
 * expression matching); NULL when there is no memory.
 */
extern ffe_state *ffe_state_new(const ffe_alloc *alloc);
extern void ffe_state_free(ffe_state *state);

/* Bytes that it holds. */
extern size_t ffe_state_size(const ffe_state *state);

/*
 * ffe_state_reserve makes room for all attributes and objects of the set. It must be called
 * before evaluating whenever something was interned or compiled since; else it costs two
 * comparisons. False when there is no memory. It forgets the context: call ffe_state_begin after.
 */
extern bool ffe_state_reserve(ffe_state *state, const ffe_set *set);

/*
 * ffe_state_begin sets the context for the evaluations that follow and forgets all that was
 * remembered of the last one. *context may be of kind FFE_MISSING or FFE_NULL: an empty context.
 * now is the attribute current_time, in microseconds since 1970-01-01 00:00 UTC.
 */
extern void ffe_state_begin(ffe_state *state, const ffe_reader *reader, const ffe_node *context,
							int64_t now);

/*
 * ffe_evaluate answers by the fixed order of doc/flag-format.md. id is a flag's; all that the flag
 * depends on must have been put into the set. Never fails: an error is a result.
 */
extern void ffe_evaluate(ffe_state *state, const ffe_set *set, uint32_t id, ffe_result *result);

/* The value of a result. The default value on ERROR_FALLBACK, FFE_MISSING without a readable one.
 */
extern void ffe_result_value(const ffe_result *result, ffe_value *value);

/* The key of the variant served (inside the document, not NUL-terminated), or NULL. */
extern const char *ffe_result_variant(const ffe_result *result, size_t *len);

/* The id of the rule that answered (inside the document, not NUL-terminated), or NULL. */
extern const char *ffe_result_rule(const ffe_result *result, size_t *len);

/* A sentence about an error, written to buffer and cut to size; "" where status is FFE_OK. */
extern void ffe_result_message(const ffe_set *set, const ffe_result *result, char *buffer,
							   size_t size);

/*
 * The same for those who may evaluate and not read definitions: it names the flag asked for, whose
 * key is given, and nothing of what is in it or what it depends on.
 */
extern void ffe_result_outline(const ffe_result *result, const char *key, size_t len, char *buffer,
							   size_t size);

extern ffe_type ffe_doc_type(const ffe_doc *doc);
extern int64_t ffe_doc_version(const ffe_doc *doc);

/*
 * When the flag's experiment started, as its definition says, in microseconds since 1970-01-01
 * 00:00 UTC; INT64_MIN where it is not given. Evaluation doesn't go by it.
 */
extern int64_t ffe_doc_experiment_start(const ffe_doc *doc);

/*
 * ffe_state_user gives the user id of the context: user_id, else targetingKey, as a string that
 * lives until the next ffe_state_begin. NULL where there is none; "" may be returned, and is
 * never hashed.
 */
extern const char *ffe_state_user(ffe_state *state, const ffe_set *set, size_t *len);

/*
 * ffe_result_unit gives what the flag's bucketing goes by: the user id, or the attribute that
 * bucketing.by names, as a string of the context that lives until the next ffe_state_begin,
 * whether or not the evaluation looked at it. NULL, with *len and *hash 0, where there is none, it
 * is empty, or the flag's definition can't be read. hash is the one that the unit's bucket comes
 * from: equal for equal units of a flag as long as its salt stays.
 */
extern const char *ffe_result_unit(ffe_state *state, const ffe_set *set, const ffe_result *result,
								   size_t *len, uint64_t *hash);

/*
 * ffe_bucket is the bucketing function, frozen for ever:
 *
 *		h      = XXH3_64bits(salt ":" unit)
 *		bucket = (h % 100) * 1000 + (h / 100) % 1000		0 .. 99999
 *
 * XXH3 is xxHash's 64-bit function with seed 0. *hash, if not NULL, receives h.
 */
extern uint32_t ffe_bucket(const char *salt, size_t salt_len, const char *unit, size_t unit_len,
						   uint64_t *hash);

/* ---------- explaining ---------- */

typedef enum ffe_stage
{
	FFE_STAGE_FLAG, /* evaluation of a flag begins, or cannot */
	FFE_STAGE_KILL_SWITCH,
	FFE_STAGE_PREREQUISITE,
	FFE_STAGE_OVERRIDE,
	FFE_STAGE_TRAFFIC,
	FFE_STAGE_RULE,
	FFE_STAGE_CONDITION,
	FFE_STAGE_SEGMENT,
	FFE_STAGE_SPLIT,
	FFE_STAGE_ROLLOUT,
	FFE_STAGE_DEFAULT
} ffe_stage;

/* "kill switch" and so on; a static string. */
extern const char *ffe_stage_name(ffe_stage stage);

/* One step of an evaluation. The strings live during the call. */
typedef struct ffe_step
{
	ffe_stage stage;
	uint32_t object;    /* id of the flag or segment being evaluated */
	uint32_t depth;     /* 0 for the flag asked for, 1 for what it depends on ... */
	const char *path;   /* JSON path in that object's definition */
	bool matched;       /* the step answered, or its condition holds */
	const char *detail; /* what was compared, in words */
} ffe_step;

/*
 * ffe_state_trace has every step of the following evaluations reported to trace, in order; NULL
 * ends it. trace must not call back into the engine with this state.
 */
extern void ffe_state_trace(ffe_state *state, void (*trace)(void *arg, const ffe_step *step),
							void *arg);

#endif /* FFE_H */
