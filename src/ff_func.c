/*
 * src/ff_func.c
 *	  The SQL functions that evaluate.
 *
 * The rule: no failure becomes an SQL error, except cancel, shutdown, out of memory, and a result
 * type that was altered: no row can be formed of it. Nothing here catches errors, because catching
 * without a subtransaction leaks and a parallel worker can't have one: whatever can fail returns a
 * status instead.
 */
#include "ff_note.h"
#include "ff_stamp.h"

#include "funcapi.h"
#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/datum.h"
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
	bool same_flag; /* key and namespace are constants of the query: no need to compare them */
	TupleDesc desc; /* ff_evaluate's result */

	ffe_result result;
	ffe_value value; /* of the result, where a typed function asked */

	FfSubject *subjects; /* FF_SUBJECTS; NULL: nothing was noted here yet */

	/* the result is that of a flag that doesn't look at contexts: good until a document is replaced
	 */
	uint64 constant_contents;
} FfCall;

int64
ff_statement_time(void)
{
	return GetCurrentStatementStartTimestamp() + FF_EPOCH_SHIFT;
}

/* ---------- call sites ---------- */

/*
 * Whether an argument is a constant. A parameter is none: the expressions of PL/pgSQL are kept
 * for many calls, and their parameters change.
 */
static bool
is_constant(FmgrInfo *flinfo, int arg)
{
	FuncExpr *call = (FuncExpr *) flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) && list_length(call->args) > arg &&
		   IsA(list_nth(call->args, arg), Const);
}

static pg_noinline FfCall *
make_call(FmgrInfo *flinfo)
{
	FfCall *call = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(FfCall));

	call->same_flag = is_constant(flinfo, ARG_KEY) && is_constant(flinfo, ARG_NAMESPACE);
	flinfo->fn_extra = call;
	return call;
}

static inline FfCall *
get_call(FmgrInfo *flinfo)
{
	return likely(flinfo->fn_extra != NULL) ? flinfo->fn_extra : make_call(flinfo);
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

/* Whether the call site has been asked for another flag than last time. */
static bool
asks_another(FunctionCallInfo fcinfo, const FfSite *site)
{
	const text *key = get_text(fcinfo, ARG_KEY);
	const text *name = PG_ARGISNULL(ARG_NAMESPACE) ? NULL : get_text(fcinfo, ARG_NAMESPACE);

	return site->key_len != VARSIZE_ANY_EXHDR(key) ||
		   memcmp(site->key, VARDATA_ANY(key), site->key_len) != 0 || !same_name(site, name);
}

/* Looks the flag up. */
static pg_noinline ffe_status
find(FunctionCallInfo fcinfo, FfCall *call)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	FfSite *site = &call->site;
	const text *key = get_text(fcinfo, ARG_KEY);

	call->constant_contents = 0;
	if (call->subjects != NULL)
		memset(call->subjects, 0, sizeof(FfSubject) * FF_SUBJECTS);
	if (site->name != NULL)
		pfree(site->name);
	site->name =
		PG_ARGISNULL(ARG_NAMESPACE) ? NULL : text_to_cstring(get_text(fcinfo, ARG_NAMESPACE));
	MemoryContextSwitchTo(old);
	return ff_cache_find(site, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
}

/* Makes the flag ready, and looks it up unless the call site did so before. */
static inline ffe_status
prepare(FunctionCallInfo fcinfo, FfCall *call)
{
	if (unlikely(!ff_cache_site_is_current(&call->site) ||
				 (!call->same_flag && asks_another(fcinfo, &call->site))))
	{
		ffe_status status = find(fcinfo, call);

		if (status != FFE_OK)
			return status;
	}
	return ff_cache_ready(&call->site);
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
 * But one that is noted is noted for a user, whom the context names.
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
	status = prepare(fcinfo, call);
	if (unlikely(status != FFE_OK))
	{
		call->constant_contents = 0;
		failed(&call->result, status);
		return false;
	}
	constant = !site->reads_context && likely(ff_noting != FF_EXPOSURES_OF_ALL) &&
			   (PG_ARGISNULL(ARG_CONTEXT) || likely(is_object(PG_GETARG_DATUM(ARG_CONTEXT))));
	if (constant && likely(call->constant_contents == ff_contents))
		return true;
	begin_context(fcinfo, ARG_CONTEXT);
	ffe_evaluate(ff_cache_state(), ff_cache_set(site->space), site->id, &call->result);
	call->constant_contents = constant && !call->result.exposed ? ff_contents : 0;
	return false;
}

/* Notes what was evaluated, for the caller who is shown it. */
static pg_noinline void
note(FmgrInfo *flinfo, FfCall *call)
{
	if (call->subjects == NULL)
		call->subjects = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(FfSubject) * FF_SUBJECTS);
	ff_note(call->site.space, call->site.id, &call->result, call->subjects);
}

/* ---------- results ---------- */

/*
 * A row under construction. Its datums point into the document, or into the buffers here: the
 * tuple that is formed of them copies everything, so nothing is allocated before.
 */
typedef struct FfRow
{
	Datum values[EVALUATION_COLUMNS + 1]; /* ff_evaluate_all's key, then ff_evaluation */
	bool nulls[EVALUATION_COLUMNS + 1];
	char key[VARHDRSZ + FFE_MAX_KEY];
	char variant[VARHDRSZ + FFE_MAX_KEY];
	char rule[VARHDRSZ + FFE_MAX_KEY];
} FfRow;

/* true and false as jsonb, which the implicit variants of boolean flags are. */
static Jsonb *
boolean_jsonb(bool boolean)
{
	static Jsonb *both[2] = {NULL, NULL};

	if (unlikely(both[boolean] == NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		JsonbValue value = {.type = jbvBool, .val.boolean = boolean};

		both[boolean] = JsonbValueToJsonb(&value);
		MemoryContextSwitchTo(old);
	}
	return both[boolean];
}

/* A value as jsonb, in place. NULL where there is none. */
static const Jsonb *
value_jsonb(const ffe_value *value)
{
	if (value->kind == FFE_MISSING)
		return NULL;
	return value->copy != NULL ? value->copy : boolean_jsonb(value->boolean);
}

/* Writes a text of at most FFE_MAX_KEY bytes to a buffer. */
static inline Datum
put_text(char *buffer, const char *string, size_t len)
{
	if (likely(len + VARHDRSZ_SHORT <= VARATT_SHORT_MAX))
	{
		SET_VARSIZE_SHORT(buffer, len + VARHDRSZ_SHORT);
		memcpy(buffer + VARHDRSZ_SHORT, string, len);
	}
	else
	{
		SET_VARSIZE(buffer, len + VARHDRSZ);
		memcpy(buffer + VARHDRSZ, string, len);
	}
	return PointerGetDatum(buffer);
}

/*
 * A flag's key. One that no trigger has seen can be longer than the buffer; it is copied, so that
 * the row says which one it is.
 */
static inline Datum
put_key(char *buffer, const char *key, size_t len)
{
	if (unlikely(len > FFE_MAX_KEY))
		return PointerGetDatum(cstring_to_text_with_len(key, (int) len));
	return put_text(buffer, key, len);
}

/* Like put_text; a null string makes a null column. */
static inline void
put_name(FfRow *row, int column, char *buffer, const char *string, size_t len)
{
	row->nulls[column] = string == NULL;
	if (string != NULL)
		row->values[column] = put_text(buffer, string, len);
}

/* The text of a reason, made once. */
static Datum
reason_text(ffe_reason reason)
{
	static char texts[FFE_REASON_COUNT][32];
	const char *name;

	if (unlikely(texts[reason][0] == 0))
	{
		name = ffe_reason_name(reason);
		put_text(texts[reason], name, strlen(name));
	}
	return PointerGetDatum(texts[reason]);
}

/*
 * Sentence for error_message. Who evaluates may not be allowed to read definitions: it says nothing
 * of what is in them.
 */
static Datum
error_text(const FfNamespace *space, const ffe_result *result, const char *key, size_t len)
{
	char message[1024] = "";

	if (space != NULL &&
		(result->status == FFE_PERMISSION_DENIED || result->status == FFE_NOT_READY))
		return CStringGetTextDatum(ff_cache_problem(space, result->status));
	if (result->status == FFE_FLAG_NOT_FOUND && key == NULL)
		return CStringGetTextDatum("the key is null");
	ffe_result_outline(result, key, len, message, sizeof(message));
	return CStringGetTextDatum(message);
}

/* The columns of ff_evaluation. A null fallback is none. */
static void
fill_row(FfRow *row, const FfNamespace *space, const ffe_result *result, const char *key,
		 size_t key_len, const Datum *fallback)
{
	bool is_error = result->reason == FFE_ERROR_FALLBACK;
	const Jsonb *jsonb = NULL;
	const char *string;
	ffe_value value;
	size_t len;

	if (unlikely(is_error && fallback != NULL))
		row->values[1] = *fallback;
	else
	{
		ffe_result_value(result, &value);
		jsonb = value_jsonb(&value);
		row->values[1] = PointerGetDatum(jsonb);
	}
	row->nulls[1] = DatumGetPointer(row->values[1]) == NULL;
	string = unlikely(is_error) ? NULL : ffe_result_variant(result, &len);
	put_name(row, 2, row->variant, string, len);
	row->values[3] = reason_text(result->reason);
	row->nulls[3] = false;
	string = result->rule < 0 ? NULL : ffe_result_rule(result, &len);
	put_name(row, 4, row->rule, string, len);
	row->nulls[5] = row->nulls[6] = !is_error;
	if (unlikely(is_error))
	{
		row->values[5] = CStringGetTextDatum(ffe_status_name(result->status));
		row->values[6] = error_text(space, result, key, key_len);
	}
	row->nulls[7] = result->doc == NULL;
	if (likely(!row->nulls[7]))
		row->values[7] = Int64GetDatum(ffe_doc_version(result->doc));
}

/*
 * Refuses a row type whose columns, from number `first` on, are not those that fill_row fills: what
 * else is read where they should be?
 */
static void
check_row_type(TupleDesc desc, int first)
{
	static const Oid types[EVALUATION_COLUMNS] = {JSONBOID, TEXTOID, TEXTOID, TEXTOID,
												  TEXTOID,  TEXTOID, INT8OID};
	bool good = desc->natts == first + EVALUATION_COLUMNS;

	for (int i = 0; good && i < EVALUATION_COLUMNS; i++)
		good = TupleDescAttr(desc, first + i)->atttypid == types[i];
	if (!good)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the result type of evaluation was altered"),
						errhint("Undo what was done to type ff_evaluation.")));
}

PG_FUNCTION_INFO_V1(ff_evaluate);

Datum
ff_evaluate(PG_FUNCTION_ARGS)
{
	FfCall *call = get_call(fcinfo->flinfo);
	Datum fallback = PG_GETARG_DATUM(ARG_FALLBACK);
	const text *key = PG_ARGISNULL(ARG_KEY) ? NULL : get_text(fcinfo, ARG_KEY);
	FfRow row;

	if (unlikely(call->desc == NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		check_row_type(desc, 0);
		call->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
	}
	(void) evaluate(fcinfo, call);
	if (unlikely(ff_is_noted(&call->result)))
		note(fcinfo->flinfo, call);
	fill_row(&row, call->site.space, &call->result, key == NULL ? NULL : VARDATA_ANY(key),
			 key == NULL ? 0 : VARSIZE_ANY_EXHDR(key),
			 PG_ARGISNULL(ARG_FALLBACK) ? NULL : &fallback);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(call->desc, row.values + 1, row.nulls + 1)));
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
	if (unlikely(ff_is_noted(&call->result)))
		note(fcinfo->flinfo, call);
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
		PG_RETURN_TEXT_P(cstring_to_text_with_len(value->str, (int) value->str_len));
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
	const Jsonb *jsonb = value == NULL ? NULL : value_jsonb(value);

	/* a copy, because the document may go while the datum is in use */
	if (likely(jsonb != NULL))
		PG_RETURN_DATUM(datumCopy(PointerGetDatum(jsonb), false, -1));
	RETURN_FALLBACK();
}

/* ---------- all flags of a context ---------- */

/* Forms the row of a result; with a null key, that of a failure of the whole. */
static MinimalTuple
form_row(TupleDesc desc, FfNamespace *space, const ffe_result *result, const char *key, size_t len)
{
	FfRow row;

	row.nulls[0] = key == NULL;
	if (key != NULL)
		row.values[0] = put_key(row.key, key, len);
	fill_row(&row, space, result, key, len, NULL);
	return ff_form_minimal_tuple(desc, row.values, row.nulls);
}

/* One row for each flag, from what was formed for this result before, where it was. */
static void
put_rows(ReturnSetInfo *rsinfo, FfNamespace *space, const uint32 *ids, uint32 count,
		 TupleTableSlot *slot)
{
	ffe_set *set = ff_cache_set(space);
	ffe_state *state = ff_cache_state();

	for (uint32 i = 0; i < count; i++)
	{
		FfAnswer *answer = NULL;
		MinimalTuple row = NULL;
		ffe_result result;
		const char *key;
		size_t len;

		ffe_evaluate(state, set, ids[i], &result);
		if (unlikely(ff_is_noted(&result)))
			ff_note(space, ids[i], &result, NULL);
		if (likely(result.status == FFE_OK))
		{
			answer = ff_cache_answer(space, ids[i], &result);
			row = answer->row;
		}
		if (unlikely(row == NULL))
		{
			key = ffe_set_key(set, ids[i], &len);
			row = form_row(rsinfo->setDesc, space, &result, key, len);
			if (answer != NULL)
				ff_cache_keep_answer(space, answer, &result, row);
		}
		ExecStoreMinimalTuple(row, slot, false);
		tuplestore_puttupleslot(rsinfo->setResult, slot);
		CHECK_FOR_INTERRUPTS();
	}
}

PG_FUNCTION_INFO_V1(ff_evaluate_all);

Datum
ff_evaluate_all(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char *name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	TupleTableSlot *slot;
	FfNamespace *space;
	ffe_result failure;
	uint32 *ids;
	uint32 count;
	ffe_status status;

	InitMaterializedSRF(fcinfo, 0);
	check_row_type(rsinfo->setDesc, 1);
	status = ff_cache_all(name, &space, &ids, &count);
	slot = MakeSingleTupleTableSlot(rsinfo->setDesc, &TTSOpsMinimalTuple);
	if (status == FFE_OK)
	{
		begin_context(fcinfo, 0);
		put_rows(rsinfo, space, ids, count, slot);
	}
	else
	{
		failed(&failure, status);
		ExecStoreMinimalTuple(form_row(rsinfo->setDesc, space, &failure, NULL, 0), slot, false);
		tuplestore_puttupleslot(rsinfo->setResult, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return (Datum) 0;
}
