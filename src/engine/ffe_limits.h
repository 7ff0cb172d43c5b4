/*
 * src/engine/ffe_limits.h
 *	  Every bound of the engine, in one place.
 *
 * The rule: whatever a definition or a context can make large has its bound here, and the bound
 * is checked when a definition is compiled, or while a context is evaluated, never later.
 */
#ifndef FFE_LIMITS_H
#define FFE_LIMITS_H

#define FFE_MAX_KEY 255              /* bytes of a flag, segment, variant, rule key, or a salt */
#define FFE_MAX_ATTRIBUTE 255        /* bytes of an attribute path */
#define FFE_MAX_PATH_PARTS 8         /* members an attribute path walks through */
#define FFE_MAX_STRING 4096          /* bytes of a comparison string or a listed user id */
#define FFE_MAX_PATTERN 1024         /* bytes of a regular expression */
#define FFE_MAX_TEXT 65536           /* bytes of description, owner, hypothesis */
#define FFE_MAX_VARIANTS 256         /* variants of a flag */
#define FFE_MAX_RULES 1000           /* rules of a flag */
#define FFE_MAX_REQUIRES 64          /* prerequisites of a flag */
#define FFE_MAX_TAGS 100             /* tags of a flag */
#define FFE_MAX_CONDITIONS 10000     /* conditions of a flag or segment, all rules together */
#define FFE_MAX_CONDITION_DEPTH 16   /* nesting of all, any, not */
#define FFE_MAX_LIST 100000          /* entries of one list, users of one flag or segment */
#define FFE_MAX_PATTERNS 1000        /* regular expressions of a flag or segment */
#define FFE_MAX_ANY_OF 100           /* alternatives of a substring, pattern or network operator */
#define FFE_MAX_DEPENDENCY_DEPTH 32  /* flags and segments that depend on one another in a chain */
#define FFE_MAX_ELEMENTS 100000      /* of an array attribute that a condition looks through */
#define FFE_MAX_VALUE_DEPTH 64       /* nesting of a json value */
#define FFE_MAX_COMPILED (16u << 20) /* bytes of a compiled flag or segment */

/*
 * What regular expressions may cost in one evaluation. A hundred thousand steps take about a tenth
 * of a millisecond; an honest pattern on an e-mail address takes some dozens. Machine code counts
 * no steps while it runs along a subject, which can be quadratic in its length: so that is bounded,
 * too.
 */
#define FFE_REGEX_MATCH_LIMIT 100000
#define FFE_REGEX_DEPTH_LIMIT 1000
#define FFE_REGEX_HEAP_LIMIT_KB 1024
#define FFE_REGEX_PARENS_LIMIT 50
#define FFE_REGEX_SUBJECT_LIMIT 4096  /* bytes of an attribute */
#define FFE_REGEX_MATCHES_LIMIT 10000 /* patterns tried */

/*
 * What one evaluation may cost beyond that: steps, of which each is an element, some alternatives
 * or some bytes, and takes 10 to 50 nanoseconds. A scalar of usual length counts nothing, or next
 * to nothing. A flag that depends on others may be evaluated twice (see ffe_evaluate).
 */
#define FFE_WORK_LIMIT 10000000

#endif /* FFE_LIMITS_H */
