/*
 * src/engine/json/ffe_jansson.h
 *	  Lets the engine read documents that jansson (2.14 or later) has parsed.
 *
 * This is for programs outside the database. It lies beside the engine and not in it: the engine
 * itself knows of no JSON library.
 */
#ifndef FFE_JANSSON_H
#define FFE_JANSSON_H

#include <jansson.h>

#include "../ffe.h"

/*
 * The reader of nodes made by ffe_jansson_node.
 *
 * Ownership: nodes borrow. They neither take nor count a reference, so the caller keeps the
 * document alive, and unchanged, as long as the engine holds a node of it (see ffe_node).
 *
 * Thread-safety: it only reads. Any number of threads may walk the same document, provided that
 * none changes it.
 *
 * Strings must be free of U+0000: parse without JSON_ALLOW_NUL. Parse with
 * JSON_REJECT_DUPLICATES, or of two members of one name the last one is silently taken.
 *
 * The host's form of a value, which ffe_result_value hands back, is its JSON text: compact, the
 * members of objects sorted by name, without a terminating NUL. copy returns 0, which no JSON
 * text has for a length, when jansson has no memory.
 */
extern const ffe_reader ffe_jansson_reader;

/*
 * ffe_jansson_node makes a node of a jansson value; the reference stays with the caller. NULL
 * gives a node of kind FFE_MISSING.
 */
extern ffe_node ffe_jansson_node(const json_t *json);

#endif /* FFE_JANSSON_H */
