/*
 * src/engine/ffe_internal.h
 *	  What the engine's files share: the compiled form and the helpers around it.
 *
 * The rule: a compiled document is one block without pointers into itself; everything in it is
 * reached by an offset from its start (an ffe_ref). Offset 0 is the header, so it means "none".
 * The only pointers are those to compiled regular expressions, which PCRE2 owns.
 */
#ifndef FFE_INTERNAL_H
#define FFE_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdarg.h>
#include <string.h>

#include "ffe.h"

#define ffe_likely(x) __builtin_expect(!!(x), 1)
#define ffe_unlikely(x) __builtin_expect(!!(x), 0)

/* ---------- the compiled form ---------- */

/* A run of bytes or of array elements in a document. */
typedef struct ffe_ref
{
	uint32_t off;
	uint32_t len; /* bytes of a string, elements of an array */
} ffe_ref;

/* Attributes that every set has, under these ids. */
enum
{
	FFE_ATTR_USER_ID,
	FFE_ATTR_TARGETING_KEY,
	FFE_ATTR_CURRENT_TIME,
	FFE_ATTR_FIRST_FREE
};

#define FFE_BY_USER UINT32_MAX /* in place of an attribute: the user id */
#define FFE_NO_TIME INT64_MIN  /* in place of a time: it is not given */

typedef enum ffe_op
{
	/* what compares an attribute */
	FFE_OP_EQUALS,
	FFE_OP_NOT_EQUALS,
	FFE_OP_IN_LIST,
	FFE_OP_NOT_IN_LIST,
	FFE_OP_CONTAINS,
	FFE_OP_NOT_CONTAINS,
	FFE_OP_STARTS_WITH,
	FFE_OP_ENDS_WITH,
	FFE_OP_REGEX,
	FFE_OP_EXISTS,
	FFE_OP_NOT_EXISTS,
	FFE_OP_GREATER_THAN,
	FFE_OP_GREATER_OR_EQUAL,
	FFE_OP_LESS_THAN,
	FFE_OP_LESS_OR_EQUAL,
	FFE_OP_BEFORE,
	FFE_OP_AFTER,
	FFE_OP_SEMVER_EQUALS,
	FFE_OP_SEMVER_GREATER,
	FFE_OP_SEMVER_GREATER_OR_EQUAL,
	FFE_OP_SEMVER_LESS,
	FFE_OP_SEMVER_LESS_OR_EQUAL,
	FFE_OP_IN_CIDR,
	/* what doesn't */
	FFE_OP_SEGMENT,
	FFE_OP_FLAG,
	FFE_OP_PERCENTAGE
} ffe_op;

#define FFE_OP_LAST_ATTRIBUTE FFE_OP_IN_CIDR

/* Operand of one condition on an attribute: a typed scalar. */
typedef struct ffe_scalar
{
	uint8_t kind; /* ffe_kind: FFE_BOOL, FFE_NUMBER, FFE_STRING */
	bool boolean;
	ffe_ref str; /* case-folded where the condition ignores case */
	double number;
} ffe_scalar;

/*
 * A hash table of scalars, open addressing: slots holds entry number + 1, 0 where empty.
 * kinds is a bit set of the ffe_kinds among the entries.
 */
typedef struct ffe_table
{
	ffe_ref slots;   /* uint32_t, a power of two of them */
	ffe_ref entries; /* ffe_entry */
	uint32_t kinds;
} ffe_table;

typedef struct ffe_entry
{
	uint32_t hash;
	uint32_t kind; /* ffe_kind */
	int32_t tag;   /* overrides: the variant */
	uint32_t pad;
	union
	{
		ffe_ref str;
		double number;
		uint64_t boolean;
	} u;
} ffe_entry;

/* A version: where its parts lie in its string. pre_len 0 is a release. */
typedef struct ffe_semver
{
	uint16_t part[3];
	uint16_t part_len[3];
	uint16_t pre;
	uint16_t pre_len;
} ffe_semver;

typedef struct ffe_network
{
	uint8_t address[16]; /* IPv4 in its mapped form */
	uint32_t bits;       /* 0 .. 128 */
} ffe_network;

/*
 * One condition. A document's conditions form one array of jumps: evaluation goes from condition
 * to condition by on_true and on_false until it reaches FFE_YES or FFE_NO; all, any and not cost
 * nothing. group and position tell where it stood in the document, for explanations.
 */
typedef struct ffe_test
{
	uint8_t op;
	bool ignore_case;
	bool current_time; /* reads the clock */
	uint16_t position;
	uint32_t group;
	uint32_t on_true;
	uint32_t on_false;
	uint32_t attr; /* attribute, or FFE_BY_USER */
	union
	{
		ffe_scalar scalar;
		ffe_table table;
		ffe_ref list; /* ffe_ref[] strings, uint32_t[] patterns, ffe_network[] */
		double number;
		int64_t time;
		struct
		{
			ffe_ref text;
			ffe_semver version;
		} semver;
		struct
		{
			uint32_t object;
			ffe_ref variant;
		} dep;
		struct
		{
			ffe_ref salt; /* with the colon */
			uint32_t below;
		} percentage;
	} u;
} ffe_test;

#define FFE_YES UINT32_MAX
#define FFE_NO (UINT32_MAX - 1)

/* A level of nesting: member `name` or element `index` of its parent. For paths only. */
typedef enum ffe_group_kind
{
	FFE_IN_RULE,
	FFE_IN_SEGMENT,
	FFE_IN_ALL,
	FFE_IN_ANY,
	FFE_IN_NOT
} ffe_group_kind;

typedef struct ffe_group
{
	uint32_t parent;
	uint16_t position;
	uint16_t kind;
} ffe_group;

/* Part of a split: buckets below upto (and not below the one before) get variant. */
typedef struct ffe_share
{
	uint32_t upto;
	int32_t variant;
} ffe_share;

typedef struct ffe_rule
{
	uint32_t entry;  /* its first condition */
	int32_t variant; /* -1: split */
	ffe_ref split;   /* ffe_share[] */
	ffe_ref id;
} ffe_rule;

typedef struct ffe_require
{
	uint32_t flag;
	ffe_ref variant;
} ffe_require;

typedef struct ffe_variant
{
	ffe_ref name;
	ffe_ref copy;
	ffe_scalar value; /* kind FFE_OBJECT: only the copy */
} ffe_variant;

struct ffe_doc
{
	uint32_t size;
	uint8_t object; /* ffe_object */
	uint8_t type;   /* ffe_type */
	uint8_t status; /* ffe_status */
	bool enabled;
	bool reads_context;
	bool has_default;
	bool experiment;
	uint32_t traffic; /* buckets that take part, 100000 for all */
	int64_t version;
	size_t regex_size;
	bool all_jit;         /* every pattern is machine code */
	ffe_ref message;      /* status: why */
	ffe_variant fallback; /* the default value; its name is unused */
	int32_t default_variant;
	uint32_t by;          /* attribute that is hashed, or FFE_BY_USER */
	ffe_ref salt;         /* with the colon */
	ffe_ref traffic_salt; /* likewise */
	ffe_ref variants;     /* ffe_variant[], sorted by name */
	ffe_table users;      /* overrides; a segment's included */
	ffe_table excluded;
	ffe_ref tests;    /* ffe_test[] */
	ffe_ref groups;   /* ffe_group[] */
	ffe_ref rules;    /* ffe_rule[] */
	ffe_ref rollout;  /* ffe_share[] */
	ffe_ref requires; /* ffe_require[] */
	ffe_ref deps;     /* uint32_t[] */
	ffe_ref patterns; /* pcre2_code *[] */
	uint32_t entry;   /* a segment's first condition, FFE_NO without `if` */

	/* for hosts; FFE_NO_TIME without one */
	int64_t experiment_start;
};

/* The address of what a ref points to. */
#define FFE_AT(doc, ref, type) ((const type *) (const void *) ((const char *) (doc) + (ref).off))

static inline const char *
ffe_str(const ffe_doc *doc, ffe_ref ref)
{
	return (const char *) doc + ref.off;
}

/* ---------- sets ---------- */

/* An interned string: an attribute path, or an object's kind and key. */
typedef struct ffe_symbol
{
	char *name; /* NUL-terminated */
	uint32_t len;
	uint32_t hash;
	uint8_t tag; /* ffe_object, for objects */
	bool dotted; /* the path walks into objects */
} ffe_symbol;

typedef struct ffe_symbols
{
	ffe_symbol *items;
	uint32_t count;
	uint32_t capacity;
	uint32_t *slots; /* item number + 1; a power of two of them */
	uint32_t nslots;
	size_t bytes;
} ffe_symbols;

struct ffe_set
{
	ffe_alloc alloc;
	ffe_symbols attrs;
	ffe_symbols objects;
	ffe_doc **docs; /* by object id */
	uint32_t docs_capacity;
};

extern uint32_t ffe_set_attribute(ffe_set *set, const char *path, size_t len);

/* ---------- parsing of what strings can hold (ffe_parse.c) ---------- */

extern bool ffe_parse_semver(const char *s, size_t len, ffe_semver *out);

/* Precedence; a_text and b_text are the strings that were parsed. */
extern int ffe_compare_semver(const char *a_text, const ffe_semver *a, const char *b_text,
							  const ffe_semver *b);
extern size_t ffe_format_time(int64_t time, char *out); /* out: 32 bytes */
extern bool ffe_parse_address(const char *s, size_t len, uint8_t out[16], bool *v4);
extern const char *ffe_parse_network(const char *s, size_t len, ffe_network *out);
extern bool ffe_in_network(const uint8_t address[16], const ffe_network *network);

/* ---------- case folding (ffe_fold.c) ---------- */

/* Folds s into out (at most size bytes); the length, or SIZE_MAX when it does not fit. */
extern size_t ffe_fold(const char *s, size_t len, char *out, size_t size);
extern uint32_t ffe_fold_next(const char **s, const char *end);

/* ---------- hashing ---------- */

extern uint32_t ffe_hash_string(const char *s, size_t len);
extern uint32_t ffe_hash_number(double d);

/* salt_colon is the salt with its colon. */
extern uint64_t ffe_hash_unit(const char *salt_colon, size_t salt_len, const char *unit,
							  size_t unit_len);

static inline uint32_t
ffe_bucket_of_hash(uint64_t h)
{
	return (uint32_t) ((h % 100) * 1000 + (h / 100) % 1000);
}

/* The entry with this string (or number, or boolean), or NULL. */
extern const ffe_entry *ffe_table_string(const ffe_doc *doc, const ffe_table *table, const char *s,
										 size_t len, uint32_t hash);
extern const ffe_entry *ffe_table_scalar(const ffe_doc *doc, const ffe_table *table,
										 const ffe_entry *wanted);

/* ---------- text for people ---------- */

/* Writes at most size bytes with a NUL, never half a UTF-8 character; snprintf's format. */
extern void ffe_format(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

extern void ffe_format_list(char *out, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* How much of a text to show, of `limit` bytes at most, so that no UTF-8 character is halved. */
extern int ffe_cut(const char *s, size_t len, size_t limit);

/* The names of operators, by ffe_op. */
extern const char *const ffe_op_names[];

/* The JSON path of a condition. */
extern void ffe_test_path(const ffe_doc *doc, const ffe_test *test, char *out, size_t size);

#endif /* FFE_INTERNAL_H */
