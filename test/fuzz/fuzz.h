/*
 * test/fuzz/fuzz.h
 *	  What the fuzz targets share.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/engine/json/ffe_jansson.h"

/* JSON as a host would take it, or NULL. */
static inline json_t *
parse(const uint8_t *data, size_t size)
{
	json_error_t error;

	return json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
}

/* Every step's text is looked at, so that a sanitizer sees what is wrong with it. */
static inline void
look(void *arg, const ffe_step *step)
{
	*(size_t *) arg += strlen(step->path) + strlen(step->detail);
}

static inline void
require(int holds, const char *what)
{
	if (!holds)
	{
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* Evaluates twice, explained and not: the answers must be the same, and readable. */
static inline void
evaluate_both(ffe_state *state, const ffe_set *set, uint32_t id, const ffe_node *context)
{
	ffe_result plain, traced;
	ffe_value value;
	char message[256];
	size_t seen = 0, len;

	require(ffe_state_reserve(state, set), "no memory");
	ffe_state_begin(state, &ffe_jansson_reader, context, 1800000000000000);
	ffe_evaluate(state, set, id, &plain);
	ffe_state_trace(state, look, &seen);
	ffe_state_begin(state, &ffe_jansson_reader, context, 1800000000000000);
	ffe_evaluate(state, set, id, &traced);
	ffe_state_trace(state, NULL, NULL);
	require(plain.reason == traced.reason && plain.status == traced.status &&
				plain.variant == traced.variant && plain.rule == traced.rule,
			"an explained evaluation answers something else");
	require((plain.reason == FFE_ERROR_FALLBACK) == (plain.status != FFE_OK),
			"an error without a status");
	require(seen > 0, "an evaluation without a step");
	ffe_result_value(&plain, &value);
	(void) ffe_result_variant(&plain, &len);
	(void) ffe_result_rule(&plain, &len);
	ffe_result_message(set, &plain, message, sizeof(message));
}

#endif /* FUZZ_H */
