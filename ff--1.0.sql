-- ff 1.0. Assembled by make from sql/*.sql: edit those.
\echo Use "CREATE EXTENSION ff" to load this file. \quit

-- The engine compares and hashes UTF-8, and so must the text it is given be.
DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'ff needs a database with encoding UTF8'
			USING ERRCODE = 'feature_not_supported',
				  DETAIL = pg_catalog.format('This database has encoding %s.',
											 pg_catalog.getdatabaseencoding()),
				  HINT = 'Create one with CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
END
$$;

CREATE SCHEMA ff;
GRANT USAGE ON SCHEMA ff TO PUBLIC;
-- Flags and segments. What is written to them is checked by the triggers of 20_triggers.sql;
-- doc/flag-format.md describes the columns.

CREATE TABLE ff.flags (
	key text COLLATE "C" PRIMARY KEY,
	type text NOT NULL,
	description text,
	state text NOT NULL DEFAULT 'active',
	enabled boolean NOT NULL DEFAULT true,
	default_value jsonb NOT NULL,
	variants jsonb,
	overrides jsonb,
	rules jsonb,
	rollout jsonb,
	requires jsonb,
	bucketing jsonb,
	experiment jsonb,
	tags jsonb,
	owner text,
	expires_at timestamptz,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
);

CREATE TABLE ff.segments (
	key text COLLATE "C" PRIMARY KEY,
	description text,
	state text NOT NULL DEFAULT 'active',
	"if" jsonb,
	included jsonb,
	excluded jsonb,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
);

-- Which tables hold the flags and segments of a namespace.
CREATE TABLE ff.namespaces (
	name text COLLATE "C" PRIMARY KEY,
	flags regclass NOT NULL UNIQUE,
	segments regclass NOT NULL UNIQUE
);
INSERT INTO ff.namespaces (name, flags, segments) VALUES ('default', 'ff.flags', 'ff.segments');

-- Always empty. Every change of a flag or segment sends an invalidation message for this table,
-- by which all sessions learn of it: cheaper than having them forget the flag table itself.
CREATE TABLE ff.cache_epoch ();

SELECT pg_catalog.pg_extension_config_dump('ff.flags', '');
SELECT pg_catalog.pg_extension_config_dump('ff.segments', '');

-- Who may read the key column may evaluate; who may read the table sees definitions.
GRANT SELECT (key) ON ff.flags TO PUBLIC;
-- The triggers of a flag table and a segment table. Triggers fire in the order of their names. Those
-- after a change sort first: a trigger of the user's that evaluates a flag must meet a cache that
-- knows of the change. The one that validates sorts last: what it has seen is what is written.
-- All are ENABLE ALWAYS, so that logical replication's apply fires them too.

CREATE FUNCTION ff_validate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_validate_trigger() IS 'checks a flag or segment before it is written, and keeps its version and times';
CREATE FUNCTION ff_invalidate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_invalidate_trigger() IS 'tells every session that a flag or segment changed';
CREATE FUNCTION ff_check_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_check_trigger() IS 'checks references between flags and segments after a change';
CREATE FUNCTION ff_protect_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_protect_trigger() IS 'refuses DELETE and TRUNCATE';

REVOKE ALL ON FUNCTION ff_validate_trigger(), ff_invalidate_trigger(), ff_check_trigger(),
	ff_protect_trigger() FROM PUBLIC;

CREATE TRIGGER zz_ff_validate BEFORE INSERT OR UPDATE ON ff.flags
	FOR EACH ROW EXECUTE FUNCTION ff_validate_trigger('flag');
CREATE TRIGGER a00_ff_protect BEFORE DELETE ON ff.flags
	FOR EACH ROW EXECUTE FUNCTION ff_protect_trigger('flag');
CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON ff.flags
	FOR EACH STATEMENT EXECUTE FUNCTION ff_protect_trigger('flag');
CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.flags
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();
CREATE TRIGGER a00_ff_invalidate_truncate AFTER TRUNCATE ON ff.flags
	FOR EACH STATEMENT EXECUTE FUNCTION ff_invalidate_trigger();
CREATE CONSTRAINT TRIGGER a10_ff_check AFTER INSERT OR UPDATE ON ff.flags
	DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION ff_check_trigger('flag');

CREATE TRIGGER zz_ff_validate BEFORE INSERT OR UPDATE ON ff.segments
	FOR EACH ROW EXECUTE FUNCTION ff_validate_trigger('segment');
CREATE TRIGGER a00_ff_protect BEFORE DELETE ON ff.segments
	FOR EACH ROW EXECUTE FUNCTION ff_protect_trigger('segment');
CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON ff.segments
	FOR EACH STATEMENT EXECUTE FUNCTION ff_protect_trigger('segment');
CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.segments
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();
CREATE TRIGGER a00_ff_invalidate_truncate AFTER TRUNCATE ON ff.segments
	FOR EACH STATEMENT EXECUTE FUNCTION ff_invalidate_trigger();
CREATE CONSTRAINT TRIGGER a10_ff_check AFTER INSERT OR UPDATE ON ff.segments
	DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION ff_check_trigger('segment');

CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.namespaces
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();

ALTER TABLE ff.namespaces ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER zz_ff_validate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_protect;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_protect_truncate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_invalidate_truncate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a10_ff_check;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER zz_ff_validate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_protect;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_protect_truncate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_invalidate_truncate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a10_ff_check;
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
-- Definitions as documents; they ask for SELECT on the table, and row-level security holds.

CREATE FUNCTION ff_flag(key text, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_flag(text, text) IS 'definition of a flag as one document; null where there is none';

CREATE FUNCTION ff_segment(key text, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_segment(text, text) IS 'definition of a segment as one document; null where there is none';

CREATE FUNCTION ff_cache_info(OUT namespaces integer, OUT flags bigint, OUT segments bigint,
							  OUT bytes bigint, OUT bytes_limit bigint, OUT generation bigint,
							  OUT hits bigint, OUT checks bigint, OUT loads bigint,
							  OUT evictions bigint)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_cache_info() IS 'the compiled flags of this session: how many, how large, how often used';
