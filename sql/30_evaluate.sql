-- Evaluation. STABLE: within a statement the answer is the same; PARALLEL SAFE: every process
-- has its own cache. Not STRICT: a null context is an empty one, and a null key has its fallback.

CREATE TYPE ff_evaluation AS (
	value jsonb,
	variant_key text,
	reason text,
	rule_id text,
	error_code text,
	error_message text,
	flag_version bigint
);

CREATE FUNCTION ff_evaluate(key text, context jsonb DEFAULT NULL, fallback jsonb DEFAULT NULL,
							namespace text DEFAULT NULL)
	RETURNS ff_evaluation LANGUAGE c STABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_evaluate(text, jsonb, jsonb, text) IS 'value, variant and reason of a flag for a context';

CREATE FUNCTION ff_bool(key text, context jsonb DEFAULT NULL, fallback boolean DEFAULT NULL,
						namespace text DEFAULT NULL)
	RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_bool(text, jsonb, boolean, text) IS 'value of a boolean flag for a context';

CREATE FUNCTION ff_string(key text, context jsonb DEFAULT NULL, fallback text DEFAULT NULL,
						  namespace text DEFAULT NULL)
	RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_string(text, jsonb, text, text) IS 'value of a string flag for a context';

CREATE FUNCTION ff_number(key text, context jsonb DEFAULT NULL,
						  fallback double precision DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS double precision LANGUAGE c STABLE PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_number(text, jsonb, double precision, text) IS 'value of a number flag for a context';

CREATE FUNCTION ff_json(key text, context jsonb DEFAULT NULL, fallback jsonb DEFAULT NULL,
						namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_json(text, jsonb, jsonb, text) IS 'value of a json flag for a context';

CREATE FUNCTION ff_evaluate_all(context jsonb DEFAULT NULL, namespace text DEFAULT NULL,
								OUT flag_key text, OUT value jsonb, OUT variant_key text,
								OUT reason text, OUT rule_id text, OUT error_code text,
								OUT error_message text, OUT flag_version bigint)
	RETURNS SETOF record LANGUAGE c STABLE PARALLEL SAFE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_evaluate_all(jsonb, text) IS 'every active flag of the namespace for one context, by key';

CREATE FUNCTION ff_explain(key text, context jsonb DEFAULT NULL, namespace text DEFAULT NULL,
						   OUT step integer, OUT stage text, OUT object text, OUT path text,
						   OUT matched boolean, OUT detail text)
	RETURNS SETOF record LANGUAGE c STABLE PARALLEL SAFE COST 1000 ROWS 20 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_explain(text, jsonb, text) IS 'every step of an evaluation, read from the table and not from the cache; needs SELECT on it';
