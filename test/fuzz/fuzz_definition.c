/*
 * test/fuzz/fuzz_definition.c
 *	  Any bytes as a definition: refused with a path and a message, or evaluated.
 */
#include "fuzz.h"

static void
check_error(ffe_status status, const ffe_error *error)
{
	require(status == FFE_PARSE_ERROR || status == FFE_LIMIT_EXCEEDED,
			"a refusal without a reason");
	require(error->status == status && error->message[0] != '\0', "a refusal without a message");
	require(memchr(error->path, '\0', sizeof(error->path)) != NULL, "a path without an end");
}

static void
try_definition(ffe_object object, const ffe_node *root)
{
	static const char context_text[] = "{\"user_id\": \"u1\", \"email\": \"u1@example.com\", "
									   "\"country\": \"DE\", \"age\": 42, \"ip\": "
									   "\"10.1.2.3\", \"version\": \"1.2.3\", \"tags\": [\"a\", 1, "
									   "true, null, {}], \"a\": {\"b\": \"c\"}}";
	ffe_set *set = ffe_set_new(&ffe_malloc);
	ffe_state *state = ffe_state_new(&ffe_malloc);
	json_t *context = parse((const uint8_t *) context_text, sizeof(context_text) - 1);
	ffe_node node = ffe_jansson_node(context);
	uint32_t id = ffe_set_intern(set, FFE_FLAG, "f", 1);
	ffe_doc *doc;
	ffe_error error;
	ffe_status status;

	status = ffe_compile(set, object, &ffe_jansson_reader, root, &doc, &error);
	if (status == FFE_OK)
		require(ffe_doc_size(doc) <= FFE_MAX_COMPILED * 2, "larger than the bound");
	else
	{
		check_error(status, &error);
		doc = ffe_compile_broken(set, &ffe_jansson_reader, root, status, error.message);
		require(doc != NULL, "no stand-in");
	}
	if (object == FFE_FLAG || status != FFE_OK)
	{
		ffe_set_put(set, id, doc);
		evaluate_both(state, set, id, &node);
	}
	else
		ffe_doc_free(set, doc);
	json_decref(context);
	ffe_state_free(state);
	ffe_set_free(set);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = parse(data, size);
	ffe_node root = ffe_jansson_node(json);

	if (json == NULL)
		return -1;
	try_definition(FFE_FLAG, &root);
	try_definition(FFE_SEGMENT, &root);
	json_decref(json);
	return 0;
}
