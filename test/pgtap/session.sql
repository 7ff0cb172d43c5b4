-- One session that outlives what it has cached. Not in a transaction: DISCARD ALL can't be in one.
\set ON_ERROR_STOP 1
CREATE EXTENSION ff;
INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '1'), ('g', 'number', '2');

---- DISCARD ALL, which discards what pgTAP remembers, too: asked before there is a plan ----
SET ff.namespace = 'nowhere';
SELECT (ff_evaluate('f')).error_code AS set_away \gset
DISCARD ALL;
SELECT ff_number('f') AS discarded \gset

SELECT plan(20);
SELECT is(text :'set_away', 'PROVIDER_NOT_READY', 'a setting');
SELECT is(:discarded, 1, 'is discarded, and flags are there');
PREPARE f AS SELECT ff_number('f');
SELECT results_eq('EXECUTE f', 'VALUES (1::float8)', 'a prepared statement');

---- the extension goes, and comes back ----
DROP EXTENSION ff;
SELECT hasnt_function('ff_number', 'without the extension there is no function');
CREATE EXTENSION ff;
SELECT is((ff_evaluate('f')).error_code, 'FLAG_NOT_FOUND', 'a new one has no flags');
SELECT is((SELECT count(*) FROM ff_evaluate_all('{}')), 0::bigint, 'not one');
INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '3'), ('g', 'number', '4');
SELECT is(ff_number('f'), 3::float8, 'but those that it is given');
SELECT results_eq('EXECUTE f', 'VALUES (3::float8)', 'a statement prepared before finds the new function');
DEALLOCATE f;
BEGIN;
DROP EXTENSION ff;
CREATE EXTENSION ff;
SELECT is((ff_evaluate('f')).error_code, 'FLAG_NOT_FOUND', 'in a transaction, too');
ROLLBACK;
SELECT is(ff_number('f'), 3::float8, 'and back when it is rolled back');

-- in another schema
DROP EXTENSION ff;
CREATE SCHEMA elsewhere;
CREATE EXTENSION ff SCHEMA elsewhere;
INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '5'), ('g', 'number', '6');
SELECT is(elsewhere.ff_number('f'), 5::float8, 'functions go where CREATE EXTENSION is told');
SET search_path = pg_catalog;
SELECT elsewhere.ff_number('g') AS g \gset
RESET search_path;
SELECT is(:g, 6, 'and need no search_path');
-- what could be mistaken for what the extension means
CREATE SCHEMA trap;
CREATE TABLE trap.flags (key text);
CREATE TABLE trap.namespaces (name text, flags regclass, segments regclass);
CREATE FUNCTION trap.never(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.never);
SET search_path = trap, public, elsewhere, pg_catalog;
UPDATE ff.flags SET default_value = '7' WHERE key = 'f';
SELECT is(ff_number('f'), 7::float8, 'nor mind one that is a trap');
SELECT is(ff_flag('f') -> 'default_value', '7', 'for documents either');
RESET search_path;
DROP EXTENSION ff;
CREATE EXTENSION ff;
INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '1'), ('g', 'number', '2');

---- settings and what ff_cache_info counts ----
SELECT throws_ok('SET ff.nmaespace = 1', '42602', NULL, 'a setting that is spelt wrong is refused');
SELECT is(ff_number('g'), 2::float8, 'a flag is loaded');
SELECT hits, checks, loads, generation FROM ff_cache_info() \gset before_
SELECT is(sum(ff_number('g', jsonb_build_object('i', i))), 2000::float8, 'and asked for a thousand times') FROM generate_series(1, 1000) i;
SELECT ok(hits - :before_hits >= 999 AND loads = :before_loads AND evictions = 0 AND flags = 1 AND bytes < bytes_limit,
	'which are hits: nothing is compiled again') FROM ff_cache_info();
UPDATE ff.flags SET default_value = '9' WHERE key = 'g';
SELECT is(ff_number('g'), 9::float8, 'after a change');
SELECT ok(loads = :before_loads + 1 AND checks > :before_checks AND generation > :before_generation, 'it is compiled once') FROM ff_cache_info();

SELECT * FROM finish();
DROP EXTENSION ff;
