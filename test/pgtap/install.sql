-- What CREATE EXTENSION brings, and what it leaves behind when it goes.
\set ON_ERROR_STOP 1
BEGIN;
SELECT plan(14);

CREATE EXTENSION ff;
SELECT has_table('ff', t, 'ff.' || t) FROM unnest(ARRAY['flags', 'segments', 'namespaces']) t;
SELECT results_eq('SELECT name::text COLLATE "default", flags::text, segments::text FROM ff.namespaces',
	$$VALUES ('default', 'ff.flags', 'ff.segments')$$, 'ff.flags is namespace default');
SELECT is((SELECT collname FROM pg_attribute a JOIN pg_collation c ON c.oid = attcollation
		   WHERE attrelid = 'ff.flags'::regclass AND attname = 'key'), 'C', 'keys sort by bytes');

-- functions of the extension
CREATE TEMP VIEW functions AS
	SELECT p.* FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
	WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ff') AND d.deptype = 'e';
SELECT ok(count(*) >= 14, 'the extension has functions') FROM functions;
SELECT is_empty($$SELECT proname FROM functions WHERE proname !~ '^ff_'$$, 'all are called ff_…');
SELECT is_empty('SELECT proname FROM functions WHERE prosecdef', 'none runs with another''s rights');
SELECT is_empty($$SELECT proname FROM functions WHERE obj_description(oid, 'pg_proc') IS NULL$$,
	'each has a comment');
SELECT is_empty($$SELECT relname FROM pg_class WHERE relnamespace = 'ff'::regnamespace AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NULL$$,
	'so has each view');
SELECT results_eq($$SELECT DISTINCT provolatile::text, proparallel::text, proisstrict FROM functions
		WHERE proname ~ '^ff_(evaluate|evaluate_all|bool|string|number|json|explain|flag|segment)$'$$,
	$$VALUES ('s', 's', false)$$, 'evaluation is STABLE and PARALLEL SAFE, and takes nulls');
SELECT is_empty($$SELECT tgname FROM pg_trigger WHERE tgrelid IN ('ff.flags'::regclass, 'ff.segments'::regclass)
		AND tgenabled <> 'A' AND NOT tgisinternal$$, 'triggers fire for replicated rows too');

DROP EXTENSION ff;
SELECT hasnt_schema('ff');
CREATE EXTENSION ff;
SELECT is((ff_evaluate('no-such-flag')).reason, 'ERROR_FALLBACK', 'it can be created again');

SELECT * FROM finish();
ROLLBACK;
