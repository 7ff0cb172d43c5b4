/*
 * sse-bridge/api_evaluate.c
 *	  Evaluation over HTTP, from memory: it goes on while the database is away.
 */
#include "api.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../src/engine/json/ffe_jansson.h"
#include "exposures.h"

/* ---------- the request ---------- */

/* Whole numbers that are too large for 64 bits become doubles, as they do in the database. */
static json_t *
parse(const char *text, json_error_t *error)
{
	json_t *body = json_loads(text, JSON_REJECT_DUPLICATES, error);

	if (body == NULL && json_error_code(error) == json_error_numeric_overflow)
		body = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, error);
	return body;
}

/* The body: {"context": {…}, "fallback": …}, each of which may be left out. NULL: it is answered.
 */
static json_t *
read_body(api_call *call)
{
	const char *text;
	json_error_t error;
	json_t *body, *context;

	if (!api_json_body(call, &text))
		return NULL;
	body = parse(text, &error);
	if (body == NULL)
	{
		api_bad_request(call, NULL, error.text);
		return NULL;
	}
	context = json_object_get(body, "context");
	if (!json_is_object(body))
		api_bad_request(call, NULL, "The body must be an object with the member context.");
	else if (context != NULL && !json_is_object(context) && !json_is_null(context))
		api_bad_request(call, "context", "The context must be an object.");
	else
		return body;
	json_decref(body);
	return NULL;
}

/* ---------- the answer ---------- */

static void
add_string(text *to, const char *name, const char *value, size_t len)
{
	text_addf(to, ",\"%s\":", name);
	if (value == NULL)
		text_adds(to, "null");
	else
		text_add_json(to, value, len);
}

/* Values are kept as JSON text, but for those of the implicit variants on and off. */
static void
add_value(text *to, const flag_answer *answer, const char *fallback)
{
	const ffe_value *value = &answer->value;

	if (answer->result.status != FFE_OK && fallback != NULL)
		text_adds(to, fallback);
	else if (value->kind == FFE_MISSING)
		text_adds(to, "null");
	else if (value->copy != NULL)
		text_add(to, value->copy, value->copy_len);
	else
		text_adds(to, value->boolean ? "true" : "false");
}

/* With the names of ff_evaluate's columns. */
static void
add_answer(text *to, const flag_answer *answer, const char *fallback)
{
	const char *reason = ffe_reason_name(answer->result.reason);

	text_adds(to, "{\"flag_key\":");
	text_add_json(to, answer->key, strlen(answer->key));
	text_adds(to, ",\"value\":");
	add_value(to, answer, fallback);
	add_string(to, "variant_key", answer->variant, answer->variant_len);
	add_string(to, "reason", reason, strlen(reason));
	add_string(to, "rule_id", answer->rule, answer->rule_len);
	if (answer->result.status != FFE_OK)
	{
		const char *code = ffe_status_name(answer->result.status);

		add_string(to, "error_code", code, strlen(code));
		add_string(to, "error_message", answer->message, strlen(answer->message));
	}
	if (answer->result.doc != NULL)
		text_addf(to, ",\"flag_version\":%" PRId64, ffe_doc_version(answer->result.doc));
	text_adds(to, "}");
}

static void
finish(api_call *call, view *view, text *body)
{
	char ref[EVENT_REF_SIZE];

	http_add_header(call->request, "FF-Event-ID", "%s", event_ref_text(hub_head(view->hub), ref));
	api_add_staleness(call);
	text_adds(body, "\n");
	api_reply_text(call, 200, "application/json", body);
}

/* The JSON text of a value, with the digits that its numbers need. */
static char *
text_of(const json_t *value)
{
	ffe_node node = ffe_jansson_node(value);
	size_t len = ffe_jansson_reader.copy(&node, NULL, 0);
	char *text = malloc(len + 1);

	if (text == NULL)
		return NULL;
	text[ffe_jansson_reader.copy(&node, text, len)] = '\0';
	return text;
}

void
api_evaluate(api_call *call)
{
	view *view = api_view(call);
	json_t *body = view == NULL ? NULL : read_body(call);
	json_t *given;
	flag_answer answer;
	text result = {0};
	char *fallback;

	if (body == NULL)
		return;
	given = json_object_get(body, "fallback");
	fallback = given == NULL ? NULL : text_of(given);
	if (!flags_begin(view->flags, json_object_get(body, "context")))
		api_unavailable(call, "out of memory");
	else
	{
		flags_evaluate(view->flags, call->key, &answer);
		exposures_note(call->bridge->exposures, view->flags, &answer);
		add_answer(&result, &answer, fallback);
		finish(call, view, &result);
	}
	free(fallback);
	json_decref(body);
}

typedef struct all_writer
{
	api_call *call;
	view *view;
	text text;
	bool is_first;
} all_writer;

static void
write_answer(void *arg, const flag_answer *answer)
{
	all_writer *writer = arg;

	exposures_note(writer->call->bridge->exposures, writer->view->flags, answer);
	text_adds(&writer->text, writer->is_first ? "\n" : ",\n");
	writer->is_first = false;
	add_answer(&writer->text, answer, NULL);
}

void
api_evaluate_all(api_call *call)
{
	all_writer writer = {.call = call, .is_first = true};
	json_t *body;

	writer.view = api_view(call);
	body = writer.view == NULL ? NULL : read_body(call);
	if (body == NULL)
		return;
	if (!flags_begin(writer.view->flags, json_object_get(body, "context")))
		api_unavailable(call, "out of memory");
	else
	{
		text_adds(&writer.text, "{\"evaluations\":[");
		flags_evaluate_all(writer.view->flags, write_answer, &writer);
		text_adds(&writer.text, "]}");
		finish(call, writer.view, &writer.text);
	}
	json_decref(body);
}
