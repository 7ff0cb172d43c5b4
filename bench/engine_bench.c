/*
 * bench/engine_bench.c FLAG.json CONTEXT.json TIMES
 *	  Evaluates a flag over a context that many times, in the engine alone, to have it counted.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../src/engine/json/ffe_jansson.h"

static json_t *
load(const char *path)
{
	json_error_t error;
	json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (json == NULL)
	{
		fprintf(stderr, "%s: %s\n", path, error.text);
		exit(1);
	}
	return json;
}

int
main(int argc, char **argv)
{
	ffe_set *set = ffe_set_new(&ffe_malloc);
	ffe_state *state = ffe_state_new(&ffe_malloc);
	long times = argc == 4 ? atol(argv[3]) : 0;
	ffe_node flag, context;
	ffe_error error;
	ffe_doc *doc;
	ffe_result result;
	uint32_t id;

	if (times <= 0)
		return 2;
	flag = ffe_jansson_node(load(argv[1]));
	context = ffe_jansson_node(load(argv[2]));
	id = ffe_set_intern(set, FFE_FLAG, "flag", 4);
	if (ffe_compile(set, FFE_FLAG, &ffe_jansson_reader, &flag, &doc, &error) != FFE_OK)
	{
		fprintf(stderr, "%s: %s\n", error.path, error.message);
		return 1;
	}
	ffe_set_put(set, id, doc);
	if (!ffe_state_reserve(state, set))
		return 1;
	for (long i = 0; i < times; i++)
	{
		ffe_state_begin(state, &ffe_jansson_reader, &context, 0);
		ffe_evaluate(state, set, id, &result);
	}
	puts(ffe_reason_name(result.reason));
	ffe_state_free(state);
	ffe_set_free(set);
	return 0;
}
