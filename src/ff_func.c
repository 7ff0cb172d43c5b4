/*
 * src/ff_func.c
 *	  The SQL functions that evaluate.
 *
 * The rule: no failure becomes an SQL error, except cancel, shutdown and out of memory. Nothing
 * here catches errors, because catching without a subtransaction leaks and a parallel worker can't
 * have one: whatever can fail returns a status instead.
 */
#include "ff.h"

#include "funcapi.h"
#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Arguments that ff_evaluate and its typed sisters have in common. */
#define ARG_KEY 0
#define ARG_CONTEXT 1
#define ARG_FALLBACK 2
#define ARG_NAMESPACE 3

#define EVALUATION_COLUMNS 7

/* What a call site keeps in fn_extra. */
typedef struct FfCall
{
	FfSite site;
	TupleDesc desc; /* ff_evaluate's result */

	ffe_result result;
	ffe_value value; /* of the result, where a typed function asked */

	/* the result is that of a flag that doesn't look at contexts: good until a document is replaced
	 */
	uint64 constant_contents;
} FfCall;

int64
ff_statement_time(void)
{
	return GetCurrentStatementStartTimestamp() +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* ---------- call sites ---------- */

static FfCall *
get_call(FmgrInfo *flinfo)
{
	if (unlikely(flinfo->fn_extra == NULL))
		flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(FfCall));
	return flinfo->fn_extra;
}

/* Whether the namespace argument is the one that the site was found with. */
static inline bool
same_name(const FfSite *site, const text *name)
{
	if (likely(name == NULL || site->name == NULL))
		return name == NULL && site->name == NULL;
	return strlen(site->name) == VARSIZE_ANY_EXHDR(name) &&
		   memcmp(site->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0;
}

/* A text argument, copied only where it is compressed or stored elsewhere. */
static inline text *
get_text(FunctionCallInfo fcinfo, int arg)
{
	text *plain = (text *) PG_GETARG_POINTER(arg);

	return likely(VARATT_IS_4B_U(plain) || VARATT_IS_SHORT(plain)) ? plain : PG_GETARG_TEXT_PP(arg);
}

/* Looks the flag up, unless the call site did so before. */
static inline ffe_status
prepare(FmgrInfo *flinfo, FfCall *call, const text *key, const text *name)
{
	FfSite *site = &call->site;
	uint32 len = VARSIZE_ANY_EXHDR(key);
	ffe_status status;

	if (unlikely(!ff_cache_site_is_current(site) || site->key_len != len ||
				 memcmp(site->key, VARDATA_ANY(key), len) != 0 || !same_name(site, name)))
	{
		call->constant_contents = 0;
		if (site->name != NULL)
			pfree(site->name);
		site->name = NULL;
		if (name != NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);

			site->name = text_to_cstring(name);
			MemoryContextSwitchTo(old);
		}
		status = ff_cache_find(site, VARDATA_ANY(key), len);
		if (status != FFE_OK)
			return status;
	}
	return ff_cache_ready(site);
}

/* ---------- contexts ---------- */

/*
 * Has the beginning of the context fetched while the flag is being found: in a scan over a large
 * table it is in no cache yet, and waiting for it was half of the time of a flag without rules.
 * A null pointer does no harm.
 */
static inline void
prefetch_context(const char *context)
{
	__builtin_prefetch(context);
	__builtin_prefetch(context + 64);
	__builtin_prefetch(context + 128);
}

/* Whether a context is an object, without detoasting the rest of it. */
static bool
is_object(Datum context)
{
	struct varlena *plain = (struct varlena *) DatumGetPointer(context);
	uint32 header;

	if (unlikely(!VARATT_IS_4B_U(plain) && !VARATT_IS_SHORT(plain)))
		plain = PG_DETOAST_DATUM_SLICE(context, 0, sizeof(header));
	memcpy(&header, VARDATA_ANY(plain), sizeof(header));
	return (header & JB_FOBJECT) != 0;
}

/* Begins evaluation over a context. */
static void
begin_context(FunctionCallInfo fcinfo, int arg)
{
	ffe_node node = {.kind = FFE_NULL};

	if (!PG_ARGISNULL(arg))
	{
		node = ff_jsonb_node(PG_GETARG_JSONB_P(arg));

		/* JSON's null is not an empty context, as SQL's is: it is not an object */
		if (node.kind == FFE_NULL)
			node.kind = FFE_ARRAY;
	}
	ffe_state_begin(ff_cache_state(), &ff_jsonb_reader, &node, ff_statement_time());
}

/* A result for what failed before there was a flag to evaluate. */
static void
failed(ffe_result *result, ffe_status status)
{
	memset(result, 0, sizeof(*result));
	result->reason = FFE_ERROR_FALLBACK;
	result->status = status;
	result->culprit = FFE_NO_ID;
	result->variant = -1;
	result->rule = -1;
}

/*
 * Evaluates into call->result. True when that is there already: a flag that doesn't look at the
 * context is evaluated once, and its context is not read; it only has to be an object all the same.
 */
static bool
evaluate(FunctionCallInfo fcinfo, FfCall *call)
{
	FfSite *site = &call->site;
	ffe_status status;
	bool constant;

	prefetch_context(PG_GETARG_POINTER(ARG_CONTEXT));
	if (unlikely(PG_ARGISNULL(ARG_KEY)))
	{
		site->space = NULL;
		call->constant_contents = 0;
		failed(&call->result, FFE_FLAG_NOT_FOUND);
		return false;
	}
	status = prepare(fcinfo->flinfo, call, get_text(fcinfo, ARG_KEY),
					 PG_ARGISNULL(ARG_NAMESPACE) ? NULL : get_text(fcinfo, ARG_NAMESPACE));
	if (unlikely(status != FFE_OK))
	{
		call->constant_contents = 0;
		failed(&call->result, status);
		return false;
	}
	constant = !site->reads_context &&
			   (PG_ARGISNULL(ARG_CONTEXT) || likely(is_object(PG_GETARG_DATUM(ARG_CONTEXT))));
	if (constant && likely(call->constant_contents == ff_cache_contents))
		return true;
	begin_context(fcinfo, ARG_CONTEXT);
	ffe_evaluate(ff_cache_state(), ff_cache_set(site->space), site->id, &call->result);
	call->constant_contents = constant ? ff_cache_contents : 0;
	return false;
}

/* ---------- results ---------- */

/* A value as jsonb; false where there is none. */
static bool
value_jsonb(const ffe_value *value, Datum *out)
{
	Jsonb *jsonb;

	if (value->kind == FFE_MISSING)
		return false;
	if (value->copy != NULL)
	{
		jsonb = palloc(value->copy_len);
		memcpy(jsonb, value->copy, value->copy_len);
	}
	else
	{
		JsonbValue boolean = {.type = jbvBool, .val.boolean = value->boolean};

		jsonb = JsonbValueToJsonb(&boolean);
	}
	*out = JsonbPGetDatum(jsonb);
	return true;
}

static Datum
make_text(const char *string, size_t len)
{
	return PointerGetDatum(cstring_to_text_with_len(string, (int) len));
}

/* Sentence for error_message. */
static Datum
error_text(const FfNamespace *space, const ffe_result *result, const text *key)
{
	char message[1024] = "";

	if (space != NULL &&
		(result->status == FFE_PERMISSION_DENIED || result->status == FFE_NOT_READY))
		return CStringGetTextDatum(ff_cache_problem(space, result->status));
	if (space != NULL && result->culprit != FFE_NO_ID)
		ffe_result_message(ff_cache_set(unconstify(FfNamespace *, space)), result, message,
						   sizeof(message));
	else if (result->status == FFE_FLAG_NOT_FOUND && key == NULL)
		strlcpy(message, "the key is null", sizeof(message));
	else if (result->status == FFE_FLAG_NOT_FOUND)
		snprintf(message, sizeof(message), "flag \"%.*s\" does not exist",
				 (int) Min(VARSIZE_ANY_EXHDR(key), 300), VARDATA_ANY(key));
	else
		ffe_result_message(NULL, result, message, sizeof(message));
	return CStringGetTextDatum(message);
}

/* The columns of ff_evaluation. A null fallback is none. */
static void
fill_evaluation(const FfNamespace *space, const ffe_result *result, const text *key,
				const Datum *fallback, Datum *values, bool *nulls)
{
	const char *reason = ffe_reason_name(result->reason);
	const char *string;
	ffe_value value;
	size_t len;

	memset(nulls, 0, sizeof(bool) * EVALUATION_COLUMNS);
	values[2] = make_text(reason, strlen(reason));
	if (unlikely(result->reason == FFE_ERROR_FALLBACK))
	{
		values[4] = CStringGetTextDatum(ffe_status_name(result->status));
		values[5] = error_text(space, result, key);
		nulls[1] = nulls[3] = true;
	}
	else
	{
		nulls[4] = nulls[5] = true;
		string = ffe_result_variant(result, &len);
		nulls[1] = string == NULL;
		if (string != NULL)
			values[1] = make_text(string, len);
		string = ffe_result_rule(result, &len);
		nulls[3] = string == NULL;
		if (string != NULL)
			values[3] = make_text(string, len);
	}
	if (result->reason == FFE_ERROR_FALLBACK && fallback != NULL)
		values[0] = *fallback;
	else
	{
		ffe_result_value(result, &value);
		nulls[0] = !value_jsonb(&value, &values[0]);
	}
	nulls[6] = result->doc == NULL;
	if (!nulls[6])
		values[6] = Int64GetDatum(ffe_doc_version(result->doc));
}

PG_FUNCTION_INFO_V1(ff_evaluate);

Datum
ff_evaluate(PG_FUNCTION_ARGS)
{
	FfCall *call = get_call(fcinfo->flinfo);
	Datum fallback = PG_GETARG_DATUM(ARG_FALLBACK);
	Datum values[EVALUATION_COLUMNS];
	bool nulls[EVALUATION_COLUMNS];

	if (unlikely(call->desc == NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
	}
	(void) evaluate(fcinfo, call);
	fill_evaluation(call->site.space, &call->result,
					PG_ARGISNULL(ARG_KEY) ? NULL : PG_GETARG_TEXT_PP(ARG_KEY),
					PG_ARGISNULL(ARG_FALLBACK) ? NULL : &fallback, values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(call->desc, values, nulls)));
}

/*
 * Evaluates for a function of one type. NULL when the answer is the caller's fallback, or, without
 * one, null: on error, unless the flag's default can be read, or when the flag has another type.
 */
static inline const ffe_value *
typed_value(FunctionCallInfo fcinfo, ffe_type type)
{
	FfCall *call = get_call(fcinfo->flinfo);

	if (!evaluate(fcinfo, call))
		ffe_result_value(&call->result, &call->value);
	if (unlikely(call->value.kind == FFE_MISSING || ffe_doc_type(call->result.doc) != type))
		return NULL;
	if (unlikely(call->result.reason == FFE_ERROR_FALLBACK) && !PG_ARGISNULL(ARG_FALLBACK))
		return NULL;
	return &call->value;
}

#define RETURN_FALLBACK()                                                                          \
	do                                                                                             \
	{                                                                                              \
		if (PG_ARGISNULL(ARG_FALLBACK))                                                            \
			PG_RETURN_NULL();                                                                      \
		PG_RETURN_DATUM(PG_GETARG_DATUM(ARG_FALLBACK));                                            \
	} while (0)

PG_FUNCTION_INFO_V1(ff_bool);

Datum
ff_bool(PG_FUNCTION_ARGS)
{
	const ffe_value *value = typed_value(fcinfo, FFE_TYPE_BOOLEAN);

	if (likely(value != NULL))
		PG_RETURN_BOOL(value->boolean);
	RETURN_FALLBACK();
}

PG_FUNCTION_INFO_V1(ff_string);

Datum
ff_string(PG_FUNCTION_ARGS)
{
	const ffe_value *value = typed_value(fcinfo, FFE_TYPE_STRING);

	if (likely(value != NULL))
		PG_RETURN_DATUM(make_text(value->str, value->str_len));
	RETURN_FALLBACK();
}

PG_FUNCTION_INFO_V1(ff_number);

Datum
ff_number(PG_FUNCTION_ARGS)
{
	const ffe_value *value = typed_value(fcinfo, FFE_TYPE_NUMBER);

	if (likely(value != NULL))
		PG_RETURN_FLOAT8(value->number);
	RETURN_FALLBACK();
}

PG_FUNCTION_INFO_V1(ff_json);

Datum
ff_json(PG_FUNCTION_ARGS)
{
	const ffe_value *value = typed_value(fcinfo, FFE_TYPE_JSON);
	Datum jsonb;

	if (likely(value != NULL) && value_jsonb(value, &jsonb))
		PG_RETURN_DATUM(jsonb);
	RETURN_FALLBACK();
}

/* ---------- all flags of a context ---------- */

/* Puts one row; the memory for it is the caller's to reset. */
static void
put_evaluation(ReturnSetInfo *rsinfo, FfNamespace *space, uint32 id)
{
	Datum values[EVALUATION_COLUMNS + 1];
	bool nulls[EVALUATION_COLUMNS + 1];
	ffe_result result;
	const char *key;
	size_t len;

	ffe_evaluate(ff_cache_state(), ff_cache_set(space), id, &result);
	key = ffe_set_key(ff_cache_set(space), id, &len);
	values[0] = make_text(key, len);
	nulls[0] = false;
	fill_evaluation(space, &result, NULL, NULL, values + 1, nulls + 1);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The one row of a namespace that can't be evaluated. */
static void
put_failure(ReturnSetInfo *rsinfo, FfNamespace *space, ffe_status status)
{
	Datum values[EVALUATION_COLUMNS + 1];
	bool nulls[EVALUATION_COLUMNS + 1];
	ffe_result result;

	failed(&result, status);
	nulls[0] = true;
	fill_evaluation(space, &result, NULL, NULL, values + 1, nulls + 1);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(ff_evaluate_all);

Datum
ff_evaluate_all(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char *name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContext scratch, old;
	FfNamespace *space;
	uint32 *ids;
	uint32 count;
	ffe_status status;

	InitMaterializedSRF(fcinfo, 0);
	status = ff_cache_all(name, &space, &ids, &count);
	if (status != FFE_OK)
	{
		put_failure(rsinfo, space, status);
		return (Datum) 0;
	}
	begin_context(fcinfo, 0);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "ff row", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	for (uint32 i = 0; i < count; i++)
	{
		put_evaluation(rsinfo, space, ids[i]);
		if (i % 16 == 15)
			MemoryContextReset(scratch);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return (Datum) 0;
}
