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

-- Every change of a flag or segment, in the order of commits, without a gap in the numbers. Written at
-- commit by the triggers of 20_triggers.sql; hash is over the row and the hash of the row before.
CREATE TABLE ff.events (
	id bigint PRIMARY KEY,
	occurred_at timestamptz NOT NULL,
	namespace text COLLATE "C" NOT NULL,
	object text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	action text NOT NULL,
	actor text NOT NULL,
	session_role text NOT NULL,
	client_address inet,
	application_name text,
	comment text,
	version bigint NOT NULL,
	old_value jsonb,
	new_value jsonb,
	hash bytea NOT NULL
);
CREATE INDEX events_by_key ON ff.events (namespace, object, key, id);

-- Which tables hold the flags and segments of a namespace: see 25_namespaces.sql.
CREATE TABLE ff.namespaces (
	name text COLLATE "C" PRIMARY KEY,
	flags regclass NOT NULL UNIQUE,
	segments regclass NOT NULL UNIQUE
);

-- Always empty. Every change of a flag or segment sends an invalidation message for this table,
-- by which all sessions learn of it: cheaper than having them forget the flag table itself.
CREATE TABLE ff.cache_epoch ();

SELECT pg_catalog.pg_extension_config_dump('ff.flags', '');
SELECT pg_catalog.pg_extension_config_dump('ff.segments', '');
SELECT pg_catalog.pg_extension_config_dump('ff.events', '');
SELECT pg_catalog.pg_extension_config_dump('ff.namespaces', $$WHERE name OPERATOR(pg_catalog.<>) 'default'$$);

-- Who may read the key column may evaluate; who may read the table sees definitions.
GRANT SELECT (key) ON ff.flags TO PUBLIC;
-- The functions behind the triggers of flag and segment tables. ff_register (25_namespaces.sql) attaches
-- them to tables, those of the default namespace too.

CREATE FUNCTION ff_validate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_validate_trigger() IS 'checks a flag or segment before it is written, and keeps its version and times';
CREATE FUNCTION ff_invalidate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_invalidate_trigger() IS 'tells every session that a flag or segment changed, and notes who changed it';
CREATE FUNCTION ff_check_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_check_trigger() IS 'checks references between flags and segments after a change';
CREATE FUNCTION ff_record_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_record_trigger() IS 'writes the event of a change at commit';
CREATE FUNCTION ff_protect_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_protect_trigger() IS 'refuses DELETE and TRUNCATE';
CREATE FUNCTION ff_protect_events_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_protect_events_trigger() IS 'refuses UPDATE, DELETE and TRUNCATE of events';
CREATE FUNCTION ff_namespace_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_namespace_trigger() IS 'has the tables of a namespace go with the extension';
CREATE FUNCTION ff_drop_trigger() RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_drop_trigger() IS 'unregisters namespaces whose tables were dropped';

REVOKE ALL ON FUNCTION ff_validate_trigger(), ff_invalidate_trigger(), ff_check_trigger(), ff_record_trigger(),
	ff_protect_trigger(), ff_protect_events_trigger(), ff_namespace_trigger(), ff_drop_trigger() FROM PUBLIC;

CREATE TRIGGER a00_ff_protect BEFORE UPDATE OR DELETE ON ff.events
	FOR EACH ROW EXECUTE FUNCTION ff_protect_events_trigger();
CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON ff.events
	FOR EACH STATEMENT EXECUTE FUNCTION ff_protect_events_trigger();
ALTER TABLE ff.events ENABLE ALWAYS TRIGGER a00_ff_protect;
ALTER TABLE ff.events ENABLE ALWAYS TRIGGER a00_ff_protect_truncate;

CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.namespaces
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();
CREATE TRIGGER a10_ff_namespace AFTER INSERT ON ff.namespaces
	FOR EACH ROW EXECUTE FUNCTION ff_namespace_trigger();
ALTER TABLE ff.namespaces ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.namespaces ENABLE ALWAYS TRIGGER a10_ff_namespace;

CREATE EVENT TRIGGER ff_unregister_dropped ON sql_drop
	EXECUTE FUNCTION ff_drop_trigger();
-- Namespaces: flag tables, each with its segment table, its grants and its channel ff_<namespace>.

CREATE FUNCTION ff_register("table" regclass, namespace text, segments regclass DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_register(regclass, text, regclass) IS 'makes a table the flag table of a new namespace; without a segment table, one is made';

CREATE FUNCTION ff_unregister(namespace text) RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_unregister(text) IS 'ends a namespace; its tables stay, as ordinary tables';

CREATE FUNCTION ff_create_namespace(name text) RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_create_namespace(text) IS 'makes a namespace with tables of its own, ff.<name>_flags and ff.<name>_segments';

REVOKE ALL ON FUNCTION ff_register(regclass, text, regclass), ff_unregister(text), ff_create_namespace(text) FROM PUBLIC;

-- These run as the caller: they can give what he can give.
CREATE FUNCTION ff_grant(role text, privilege text, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_grant(text, text, text) IS 'lets a role (or public) evaluate, read, write or admin the flags of a namespace';

CREATE FUNCTION ff_revoke(role text, privilege text, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_revoke(text, text, text) IS 'takes back what ff_grant gave, with all that includes it';

SELECT @extschema@.ff_register('ff.flags', 'default', 'ff.segments');
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
-- Changing flags by functions. They run as the caller and do what INSERT, UPDATE and DELETE do.

CREATE FUNCTION ff_create_flag(definition jsonb, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_create_flag(jsonb, text) IS 'creates a flag from its document, and returns what was stored';
CREATE FUNCTION ff_create_segment(definition jsonb, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_create_segment(jsonb, text) IS 'creates a segment from its document, and returns what was stored';

CREATE FUNCTION ff_update_flag(key text, patch jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_update_flag(text, jsonb, bigint, text) IS 'changes a flag by a JSON merge patch (RFC 7396)';
CREATE FUNCTION ff_update_segment(key text, patch jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_update_segment(text, jsonb, bigint, text) IS 'changes a segment by a JSON merge patch (RFC 7396)';

CREATE FUNCTION ff_replace_flag(key text, definition jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_replace_flag(text, jsonb, bigint, text) IS 'gives a flag another definition as a whole';
CREATE FUNCTION ff_replace_segment(key text, definition jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_replace_segment(text, jsonb, bigint, text) IS 'gives a segment another definition as a whole';

CREATE FUNCTION ff_archive_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_archive_flag(text, bigint, text) IS 'ends the use of a flag and keeps it';
CREATE FUNCTION ff_archive_segment(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_archive_segment(text, bigint, text) IS 'ends the use of a segment and keeps it';

CREATE FUNCTION ff_restore_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_restore_flag(text, bigint, text) IS 'takes an archived flag into use again';
CREATE FUNCTION ff_restore_segment(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_restore_segment(text, bigint, text) IS 'takes an archived segment into use again';

CREATE FUNCTION ff_enable_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_enable_flag(text, bigint, text) IS 'takes back the kill switch';
CREATE FUNCTION ff_disable_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_disable_flag(text, bigint, text) IS 'throws the kill switch: everybody has the default';

CREATE FUNCTION ff_purge_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_purge_flag(text, bigint, text) IS 'deletes an archived flag; its events stay';
CREATE FUNCTION ff_purge_segment(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_purge_segment(text, bigint, text) IS 'deletes an archived segment; its events stay';

CREATE FUNCTION ff_revert_flag(key text, to_event bigint, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_revert_flag(text, bigint, bigint, text) IS 'gives a flag the definition that an event left it with';
CREATE FUNCTION ff_revert_segment(key text, to_event bigint, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_revert_segment(text, bigint, bigint, text) IS 'gives a segment the definition that an event left it with';

-- Looking for flags, and at what happened to one.

CREATE FUNCTION ff_flags(state text DEFAULT NULL, tag text DEFAULT NULL, owner text DEFAULT NULL, search text DEFAULT NULL,
						 "limit" integer DEFAULT 100, after text DEFAULT NULL, namespace text DEFAULT NULL,
						 OUT flag_key text, OUT definition jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_flags(text, text, text, text, integer, text, text) IS 'flags by key, a page at a time: after takes the last key of the page before';
CREATE FUNCTION ff_segments(state text DEFAULT NULL, search text DEFAULT NULL, "limit" integer DEFAULT 100,
							after text DEFAULT NULL, namespace text DEFAULT NULL,
							OUT segment_key text, OUT definition jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_segments(text, text, integer, text, text) IS 'segments by key, a page at a time: after takes the last key of the page before';

CREATE FUNCTION ff_audit(key text, "limit" integer DEFAULT 100, after bigint DEFAULT NULL, namespace text DEFAULT NULL,
						 object text DEFAULT 'flag',
						 OUT event_id bigint, OUT occurred_at timestamptz, OUT actor text, OUT action text,
						 OUT comment text, OUT version bigint, OUT changed text[], OUT old_value jsonb, OUT new_value jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_audit(text, integer, bigint, text, text) IS 'events of a flag or segment, oldest first; after takes the last number of the page before';

CREATE FUNCTION ff_verify_events(OUT valid boolean, OUT events bigint, OUT event_id bigint, OUT problem text,
								 OUT head_id bigint, OUT head_hash bytea)
	RETURNS record LANGUAGE c STABLE COST 100000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_verify_events() IS 'whether the log is whole, and the first event that is not as it was written';
REVOKE ALL ON FUNCTION ff_verify_events() FROM PUBLIC;

-- Flags that have done their duty, as far as the caller may see definitions.

CREATE FUNCTION ff_stale_flags(OUT namespace text, OUT flag_key text, OUT reason text, OUT since timestamptz)
	RETURNS SETOF record LANGUAGE c STABLE COST 10000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_stale_flags() IS 'what ff.stale_flags shows';

CREATE VIEW ff.stale_flags AS SELECT namespace, flag_key, reason, since FROM @extschema@.ff_stale_flags();
COMMENT ON VIEW ff.stale_flags IS 'active flags that could go, each with the reason';
GRANT SELECT ON ff.stale_flags TO PUBLIC;

CREATE FUNCTION ff_last_evaluated(key text, namespace text DEFAULT NULL)
	RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_last_evaluated(text, text) IS 'when a flag was last evaluated on this server, to a minute; null where that is not known';
-- Exposures: who was shown which variant. The worker (or ff_flush_exposures) lands them here, and keeps
-- what is derived of them with each batch, so that nobody has to read them all again.
-- user_id is the id that the flag's bucketing goes by.

CREATE TABLE ff.exposures (
	id bigint,
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	user_id text COLLATE "C",
	exposed_at timestamptz NOT NULL,
	reason text NOT NULL,
	rule_id text,
	flag_version bigint,
	evaluations bigint NOT NULL DEFAULT 1
) PARTITION BY RANGE (exposed_at);

-- What comes too late or too early for a partition of its own is kept here.
CREATE TABLE ff.exposures_default PARTITION OF ff.exposures DEFAULT;

-- Numbers in the order of commits (src/ff_forward.c). Each partition has an index of its own, and ff.exposures
-- none: one that is there when a dump's partitions are attached would make theirs, which the dump makes, too.
CREATE SEQUENCE ff.exposure_ids;
CREATE INDEX exposures_default_by_id ON ff.exposures_default (id);

-- Figures by the hour. users: how many had not been seen in this variant before.
CREATE TABLE ff.exposure_rollups (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	hour timestamptz NOT NULL,
	evaluations bigint NOT NULL,
	exposures bigint NOT NULL,
	users bigint NOT NULL,
	first_at timestamptz NOT NULL,
	last_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, flag_key, variant_key, hour)
) WITH (fillfactor = 50);

-- The first variant of each user.
CREATE TABLE ff.assignments (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	assigned_at timestamptz NOT NULL,
	reason text NOT NULL,
	rule_id text
);

-- By hashes: every batch looks up each of its users here, and whole texts take three times as long. That
-- a user has one row for a flag is seen to by the flush, of which there is one at a time.
CREATE INDEX assignments_by_user ON ff.assignments (pg_catalog.hashtext(flag_key), pg_catalog.hashtext(user_id));

-- Users who were seen in another variant than their first, by each such variant.
CREATE TABLE ff.crossovers (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	first_variant_key text COLLATE "C" NOT NULL,
	crossed_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, flag_key, user_id, variant_key)
);

SELECT pg_catalog.pg_extension_config_dump('ff.exposure_ids', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposures', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposures_default', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposure_rollups', '');
SELECT pg_catalog.pg_extension_config_dump('ff.assignments', '');
SELECT pg_catalog.pg_extension_config_dump('ff.crossovers', '');

CREATE VIEW ff.exposure_counts AS
	SELECT namespace, flag_key, variant_key, pg_catalog.sum(evaluations)::bigint AS evaluations,
		pg_catalog.sum(users)::bigint AS unique_users, pg_catalog.min(first_at) AS first_at,
		pg_catalog.max(last_at) AS last_at
	FROM ff.exposure_rollups GROUP BY namespace, flag_key, variant_key;
COMMENT ON VIEW ff.exposure_counts IS 'evaluations and unique users of each variant, with the first and the last time';

CREATE VIEW ff.exposure_hourly AS
	SELECT namespace, flag_key, variant_key, hour, evaluations, exposures, users AS new_users
	FROM ff.exposure_rollups;
COMMENT ON VIEW ff.exposure_hourly IS 'the same by the hour; new_users had not been seen in the variant before';
-- From the buffer in shared memory to the tables, and a look at what is in between. A row of exposures
-- is a user's in both: nobody sees them who wasn't granted to.

CREATE FUNCTION ff_flush_exposures() RETURNS bigint LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_flush_exposures() IS 'writes down the exposures of this database now; returns how many rows that were';

CREATE FUNCTION ff_maintain(OUT partitions_made integer, OUT partitions_dropped integer, OUT rows_deleted bigint)
	RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_maintain() IS 'makes and drops partitions of ff.exposures and checks sample ratios, as the worker does every hour';

CREATE FUNCTION ff_exposure_buffer(OUT namespace text, OUT flag_key text, OUT variant_key text, OUT user_id text,
								   OUT exposed_at timestamptz, OUT reason text, OUT rule_id text,
								   OUT flag_version bigint, OUT evaluations bigint)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposure_buffer() IS 'exposures of this database that are not written down yet';

CREATE FUNCTION ff_exposure_stats(OUT noted bigint, OUT flushed bigint, OUT dropped bigint, OUT buffered bigint,
								  OUT refused bigint, OUT entries bigint, OUT capacity bigint,
								  OUT last_flush timestamptz, OUT last_duration interval, OUT last_rows bigint,
								  OUT errors bigint, OUT last_error_at timestamptz, OUT last_error text,
								  OUT worker_pid integer)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposure_stats() IS 'the books of the exposure buffer for this database: noted = flushed + dropped + buffered, in evaluations';

CREATE FUNCTION ff_status(OUT version text, OUT preloaded boolean, OUT exposure_mode text, OUT exposure_sink text,
						  OUT problem text, OUT hint text)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_status() IS 'whether exposures are recorded, and if not, what to do about it';

REVOKE ALL ON FUNCTION ff_flush_exposures(), ff_maintain(), ff_exposure_buffer(), ff_exposure_stats() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ff_exposure_stats() TO pg_monitor;

CREATE VIEW ff.exposure_buffer AS SELECT * FROM @extschema@.ff_exposure_buffer();
CREATE VIEW ff.exposure_stats AS SELECT * FROM @extschema@.ff_exposure_stats();
COMMENT ON VIEW ff.exposure_buffer IS 'exposures of this database that are not written down yet';
COMMENT ON VIEW ff.exposure_stats IS 'the books of the exposure buffer for this database: noted = flushed + dropped + buffered, in evaluations; its last flush and error';
GRANT SELECT ON ff.exposure_stats TO pg_monitor;

-- When a worker said that an experiment's users are not spread as configured: once a day.
CREATE TABLE ff.sample_ratio_warnings (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	day date NOT NULL,
	PRIMARY KEY (namespace, flag_key, day)
);
SELECT pg_catalog.pg_extension_config_dump('ff.sample_ratio_warnings', '');
-- Analysis of experiments: whether users were shared out as configured, and what became of them.

CREATE FUNCTION ff_chi_squared_p(chi_squared double precision, degrees integer)
	RETURNS double precision LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_chi_squared_p(double precision, integer) IS 'the probability of a chi-squared as large or larger, by chance';

CREATE FUNCTION ff_allocations(OUT namespace text, OUT flag_key text, OUT rule_id text, OUT variant_key text,
							   OUT weight double precision, OUT active boolean, OUT started_at timestamptz, OUT ended_at timestamptz)
	RETURNS SETOF record LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_allocations() IS 'by which shares (in percent) experiments give variants at random: a null rule_id is the rollout';

-- The users of one flag, however many others have. By the key and not its hash: from a key that is asked for
-- the planner can tell how many there are, and it is known beside the joins.
CREATE INDEX assignments_by_flag ON ff.assignments (flag_key);

-- From the inside out: shares, and users counted by the runs of flags, in one list, so that assignments are read once and
-- those of a flag by the index; the users of each share; what the test needs of its allocation; the test.
-- COLLATE "C" is that of ff.assignments: who asks for one flag asks the index.
-- The setting is asked for as one that may be missing, because a planner's guess may come before
-- the library is loaded; when the view is run, ff_allocations has loaded it.
CREATE VIEW ff.sample_ratio AS
	SELECT namespace, flag_key, rule_id, variant_key, active, users, total_users, configured_share, actual_share, deviation,
		chi_squared, degrees, p_value,
		COALESCE(p_value OPERATOR(pg_catalog.<) 0.001::double precision, false)
			OR COALESCE(total_users OPERATOR(pg_catalog.>=) 1000 AND pg_catalog.abs(deviation) OPERATOR(pg_catalog.>)
				pg_catalog.current_setting('ff.sample_ratio_tolerance', true)::double precision, false) AS warning
	FROM (
		SELECT namespace, flag_key, rule_id, variant_key, active, users, total_users, configured_share, actual_share,
			actual_share OPERATOR(pg_catalog.-) configured_share AS deviation, chi_squared, degrees,
			CASE WHEN degrees OPERATOR(pg_catalog.>) 0 AND least_expected OPERATOR(pg_catalog.>=) 5
				THEN @extschema@.ff_chi_squared_p(chi_squared, degrees) END AS p_value
		FROM (
			SELECT namespace, flag_key, rule_id, variant_key, active, users::bigint AS users, total_users::bigint AS total_users, configured_share,
				CASE WHEN total_users OPERATOR(pg_catalog.>) 0
					THEN users OPERATOR(pg_catalog.*) 100 OPERATOR(pg_catalog./) total_users END AS actual_share,
				pg_catalog.sum(CASE WHEN expected OPERATOR(pg_catalog.>) 0 THEN
					(users OPERATOR(pg_catalog.-) expected) OPERATOR(pg_catalog.^) 2 OPERATOR(pg_catalog./) expected END) OVER allocation AS chi_squared,
				(pg_catalog.count(*) OVER allocation)::integer OPERATOR(pg_catalog.-) 1 AS degrees,
				pg_catalog.min(expected) OVER allocation AS least_expected
			FROM (
				SELECT namespace, flag_key, rule_id, variant_key, active, users, configured_share,
					pg_catalog.sum(users) OVER allocation AS total_users,
					pg_catalog.sum(users) OVER allocation OPERATOR(pg_catalog.*) configured_share OPERATOR(pg_catalog./) 100 AS expected
				FROM (
					SELECT namespace, flag_key, rule_id, variant_key, pg_catalog.bool_or(active) AS active, pg_catalog.max(weight) AS configured_share,
						pg_catalog.sum(users)::double precision AS users
					FROM (
						SELECT namespace COLLATE "C" AS namespace, flag_key COLLATE "C" AS flag_key, rule_id,
							variant_key COLLATE "C" AS variant_key, active, weight, 0::bigint AS users
						FROM @extschema@.ff_allocations()
						UNION ALL
						SELECT a.namespace, a.flag_key, CASE WHEN a.reason OPERATOR(pg_catalog.=) 'RULE_MATCH' THEN a.rule_id END, a.variant_key, NULL, NULL,
							pg_catalog.count(*) FILTER (WHERE a.assigned_at OPERATOR(pg_catalog.>=) COALESCE(run.started_at, '-infinity')
								AND a.assigned_at OPERATOR(pg_catalog.<=) COALESCE(run.ended_at, 'infinity'))
						FROM (
							SELECT DISTINCT namespace COLLATE "C" AS namespace, flag_key COLLATE "C" AS flag_key, started_at, ended_at
							FROM @extschema@.ff_allocations()
						) run
						JOIN ff.assignments a ON a.namespace OPERATOR(pg_catalog.=) run.namespace AND a.flag_key OPERATOR(pg_catalog.=) run.flag_key
						WHERE a.reason OPERATOR(pg_catalog.=) ANY ('{ROLLOUT,DEFAULT}'::text[])
							OR a.reason OPERATOR(pg_catalog.=) 'RULE_MATCH' AND a.rule_id IS NOT NULL
						GROUP BY a.namespace, a.flag_key, a.variant_key, a.reason, a.rule_id
					) listed
					GROUP BY namespace, flag_key, rule_id, variant_key
					HAVING pg_catalog.count(weight) OPERATOR(pg_catalog.>) 0
				) counted
				WINDOW allocation AS (PARTITION BY namespace, flag_key, rule_id)
			) expecting
			WINDOW allocation AS (PARTITION BY namespace, flag_key, rule_id)
		) compared
	) tested;
COMMENT ON VIEW ff.sample_ratio IS
	'users of each variant against its configured share. A warning: p_value < 0.001, where each variant is expected to have at least 5 users; or a deviation of more than ff.sample_ratio_tolerance percentage points, where the allocation has at least 1000 users';

CREATE FUNCTION ff_experiment(key text, outcomes regclass, user_column name, value_column name DEFAULT NULL,
							  time_column name DEFAULT NULL, namespace text DEFAULT NULL,
							  OUT variant_key text, OUT users bigint, OUT outcomes bigint, OUT converted bigint,
							  OUT conversion double precision, OUT total numeric, OUT mean double precision,
							  OUT mean_per_user double precision, OUT share double precision,
							  OUT configured_share double precision, OUT sample_ratio_p_value double precision,
							  OUT sample_ratio_warning boolean)
	RETURNS SETOF record LANGUAGE c STABLE COST 100000 ROWS 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_experiment(text, regclass, name, name, name, text) IS 'what became of the users of each variant, by a table of yours';

CREATE FUNCTION ff_exposures(key text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE COST 10000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposures(text, timestamptz, timestamptz, text) IS 'figures of a flag''s exposures as one document';
-- Exposures from and to programs outside: what they report, and what they forward.

-- Batches that were reported in the last days: each is written once, however often it is sent.
CREATE TABLE ff.exposure_batches (
	batch_id text COLLATE "C" PRIMARY KEY,
	received_at timestamptz NOT NULL,
	rows bigint NOT NULL
);
CREATE INDEX exposure_batches_by_time ON ff.exposure_batches (received_at);

-- How far who forwards exposures has got.
CREATE TABLE ff.exposure_cursors (
	name text COLLATE "C" PRIMARY KEY,
	last_id bigint NOT NULL,
	updated_at timestamptz NOT NULL
);

SELECT pg_catalog.pg_extension_config_dump('ff.exposure_batches', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposure_cursors', '');

CREATE FUNCTION ff_record_exposures(batch_id text, exposures jsonb, namespace text DEFAULT NULL,
									OUT recorded bigint, OUT duplicate boolean)
	RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_record_exposures(text, jsonb, text) IS 'writes down exposures that a program outside reports; a batch that was written is not written again';

CREATE FUNCTION ff_exposures_after(after bigint, "limit" integer DEFAULT 100,
								   OUT id bigint, OUT namespace text, OUT flag_key text, OUT variant_key text, OUT user_id text,
								   OUT exposed_at timestamptz, OUT reason text, OUT rule_id text, OUT flag_version bigint,
								   OUT evaluations bigint)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposures_after(bigint, integer) IS 'rows of ff.exposures after a number, in the order in which they were written down';

CREATE FUNCTION ff_exposure_cursor(name text, OUT last_id bigint, OUT newest_id bigint, OUT updated_at timestamptz)
	RETURNS record LANGUAGE c STABLE COST 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposure_cursor(text) IS 'how far a cursor is, 0 for one that is not there yet, and the newest number of ff.exposures';

CREATE FUNCTION ff_move_exposure_cursor(name text, expected_last_id bigint, last_id bigint)
	RETURNS boolean LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_move_exposure_cursor(text, bigint, bigint) IS 'moves a cursor, if it is where it was expected; false where it is not';
-- For programs that follow the flags from outside, as sse-bridge does.

CREATE FUNCTION ff_last_event(OUT event_id bigint, OUT event_hash bytea)
	RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_last_event() IS 'number and hash of the last event that this transaction has written; null where it has written none';

CREATE FUNCTION ff_namespaces(OUT namespace text, OUT channel text)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'ff_list_namespaces';
COMMENT ON FUNCTION ff_namespaces() IS 'namespaces whose flags the caller may read, and the channels that notify of changes';

CREATE FUNCTION ff_documents(namespace text DEFAULT NULL, OUT namespace text, OUT object text, OUT key text,
							 OUT version bigint, OUT definition jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 10000 ROWS 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_documents(text) IS 'every flag and segment that the caller may read, archived ones too';

CREATE FUNCTION ff_events_after(after bigint, "limit" integer DEFAULT 500,
								OUT event_id bigint, OUT occurred_at timestamptz, OUT namespace text, OUT object text, OUT key text,
								OUT action text, OUT actor text, OUT comment text, OUT version bigint, OUT old_value jsonb,
								OUT new_value jsonb, OUT hash bytea)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_events_after(bigint, integer) IS 'events after a number, in order, of all namespaces that the caller may read';

CREATE FUNCTION ff_event_head(OUT event_id bigint, OUT event_hash bytea)
	RETURNS record LANGUAGE c STABLE COST 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_event_head() IS 'number and hash of the newest event that ff_events_after would list';
