-- Namespaces: which tables can hold flags, what registering one records, and what ends it.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- events are written at once
SELECT plan(101);
CREATE FUNCTION refused(sql text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	code := 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
CREATE FUNCTION log_of(space text, after bigint DEFAULT 0) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', object, key, action, version), ', ' ORDER BY id) FROM ff.events WHERE namespace = space AND id > after $$;
CREATE FUNCTION head() RETURNS bigint LANGUAGE sql AS 'SELECT COALESCE(max(id), 0) FROM ff.events';
CREATE FUNCTION triggers(t regclass) RETURNS bigint LANGUAGE sql AS
	$$SELECT count(*) FROM pg_trigger WHERE tgrelid = t AND NOT tgisinternal AND tgenabled = 'A'$$;

---- the wrong shape ----
CREATE SCHEMA app;
CREATE TABLE app.flags (LIKE ff.flags INCLUDING ALL);
CREATE TABLE app.segments (LIKE ff.segments INCLUDING ALL);
CREATE TABLE app.short (LIKE ff.flags INCLUDING ALL);
ALTER TABLE app.short DROP COLUMN owner, DROP COLUMN rules, ALTER COLUMN tags TYPE text;
CREATE TABLE app.unindexed (LIKE ff.flags);
CREATE TABLE app.collated (LIKE ff.flags);
ALTER TABLE app.collated ALTER COLUMN key TYPE text COLLATE "default";
ALTER TABLE app.collated ADD PRIMARY KEY (key);
CREATE TABLE app.partial (LIKE ff.flags);
CREATE UNIQUE INDEX ON app.partial (key) WHERE state = 'active';
CREATE UNIQUE INDEX ON app.partial (key, state);
CREATE TABLE app.empty ();
SELECT is(code || ' ' || detail, '42P16 It lacks ' || lacks || '.', sql) FROM (VALUES
	($$SELECT ff_register('app.short', 'x')$$, 'column rules jsonb, column tags jsonb (it is text), column owner text'),
	($$SELECT ff_register('app.unindexed', 'x')$$, 'a unique index on key alone, with collation "C"'),
	($$SELECT ff_register('app.collated', 'x')$$, 'a unique index on key alone, with collation "C"'),
	($$SELECT ff_register('app.partial', 'x')$$, 'a unique index on key alone, with collation "C"'),
	($$SELECT ff_register('app.flags', 'x', 'app.empty')$$, 'column key text, column description text, column state text, column if jsonb, column included jsonb, column excluded jsonb, column version bigint, column created_at timestamp with time zone, column updated_at timestamp with time zone'),
	($$SELECT ff_register('app.flags', 'x', 'app.unindexed')$$, 'column if jsonb, column included jsonb, column excluded jsonb, a unique index on key alone, with collation "C"')) t(sql, lacks), refused(t.sql);
SELECT matches((SELECT hint FROM refused($$SELECT ff_register('app.short', 'x')$$)), 'LIKE ff.flags INCLUDING ALL', 'with a hint');
SELECT matches((SELECT hint FROM refused($$SELECT ff_register('app.flags', 'x', 'app.empty')$$)), 'LIKE ff.segments INCLUDING ALL', 'for segments, too');

---- not a table ----
CREATE VIEW app.a_view AS SELECT * FROM app.flags;
CREATE MATERIALIZED VIEW app.a_matview AS SELECT * FROM app.flags;
CREATE TEMP TABLE a_temp (LIKE ff.flags INCLUDING ALL);
CREATE UNLOGGED TABLE app.an_unlogged (LIKE ff.flags INCLUDING ALL);
CREATE TABLE app.parted (LIKE ff.flags INCLUDING ALL) PARTITION BY LIST (key);
CREATE TABLE app.part PARTITION OF app.parted DEFAULT;
CREATE TABLE app.parent (LIKE ff.flags INCLUDING ALL);
CREATE TABLE app.child (PRIMARY KEY (key)) INHERITS (app.parent);
SELECT is((SELECT code FROM refused(format('SELECT ff_register(%L, %L)', t, 'x'))), '42809', t || ' is refused')
FROM unnest(ARRAY['app.a_view', 'app.a_matview', 'a_temp', 'app.an_unlogged', 'app.parted', 'app.part', 'app.parent']) t;
SELECT is((SELECT code FROM refused($$SELECT ff_register('app.flags', 'x', 'a_temp')$$)), '42809', 'for segments, too');
SELECT is((SELECT code FROM refused($$SELECT ff_register('app.parted_pkey', 'x')$$)), '42809', 'an index');
SELECT is((SELECT code FROM refused($$SELECT ff_register('app.none', 'x')$$)), '42P01', 'what is not there');
SELECT is((SELECT code FROM refused($$SELECT ff_register(0, 'x')$$)) IN ('42P01', 'XX000'), true, 'a number that is no table');

---- names ----
SELECT is(c.code, '42602', format('no name: %L', replace(left(n, 30), E'\n', ' ')))
FROM unnest(ARRAY['', ' ', 'a b', '-a', '.a', '_a', 'a"b', 'a''b', 'ü', E'a\nb', 'a/b', repeat('a', 64), repeat('x', 10000)]) n, refused(format('SELECT ff_create_namespace(%L)', n)) c;
SELECT is((SELECT code FROM refused(format($$SELECT ff_register('app.flags', %L)$$, n))), '42602', 'nor for a table: ' || n) FROM unnest(ARRAY['a b', '-a']) n;
SELECT is((SELECT code FROM refused(sql)), '22004', sql) FROM unnest(ARRAY['SELECT ff_create_namespace(NULL)', $$SELECT ff_register('app.flags', NULL)$$, $$SELECT ff_register(NULL, 'x')$$, 'SELECT ff_unregister(NULL)']) sql;
SELECT is_empty($$SELECT name FROM ff.namespaces WHERE name <> 'default'$$, 'what is refused leaves nothing');
SELECT is(triggers('app.flags'), 0::bigint, 'no trigger either');

---- a table with rows ----
INSERT INTO app.segments (key, included, version, created_at, updated_at) VALUES ('s', '["u"]', 5, now(), now());
INSERT INTO app.flags (key, type, default_value, rules, version, created_at, updated_at) VALUES
	('a', 'boolean', 'false', '[{"if": {"segment": "s"}, "serve": "on"}]', 3, '2020-01-01Z', '2020-01-02Z'), ('b', 'boolean', '"yes"', NULL, 1, now(), now());
SELECT is((SELECT code || ' ' || detail FROM refused($$SELECT ff_register('app.flags', 'app', 'app.segments')$$)) ~ '^22023 default_value: ', true, 'existing rows are checked');
UPDATE app.flags SET default_value = 'true', requires = '[{"flag": "none", "variant": "on"}]' WHERE key = 'b';
SELECT is((SELECT code FROM refused($$SELECT ff_register('app.flags', 'app', 'app.segments')$$)), '23503', 'their references, too');
UPDATE app.flags SET requires = NULL WHERE key = 'b';
SELECT is((SELECT code FROM refused($$SELECT ff_register('app.flags', 'app')$$)), '23503', 'a segment must be in the namespace''s own table');
SELECT is(log_of('app'), NULL, 'nothing is recorded so far');
SELECT ff_register('app.flags', 'app', 'app.segments') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', object, key, action, version, comment), ', ' ORDER BY object DESC, key) FROM ff.events WHERE namespace = 'app'),
	'segment s created 5 registered, flag a created 3 registered, flag b created 1 registered', 'registration records them, with their versions');
SELECT is((SELECT string_agg(object, ' ' ORDER BY id) FROM ff.events WHERE namespace = 'app'), 'segment flag flag', 'segments first');
SELECT ok(ff_bool('a', '{"user_id": "u"}', namespace => 'app'), 'they can be evaluated');
SELECT is(ff_flag('a', 'app') ->> 'created_at', '2020-01-01T00:00:00Z', 'their times stay');
SELECT results_eq($$SELECT flags, segments FROM ff.namespaces WHERE name = 'app'$$, $$VALUES ('app.flags'::regclass, 'app.segments'::regclass)$$, 'ff.namespaces has it');
SELECT is((SELECT code FROM refused(sql)), '42710', sql) FROM unnest(ARRAY[$$SELECT ff_create_namespace('app')$$, $$SELECT ff_create_namespace('default')$$,
	$$SELECT ff_register('app.flags', 'other')$$, $$SELECT ff_register('app.segments', 'other')$$, $$SELECT ff_register('ff.flags', 'other')$$, $$SELECT ff_register('app.flags', 'app')$$]) sql;
SELECT throws_ok($$UPDATE app.flags SET default_value = '5' WHERE key = 'a'$$, '22023', NULL, 'writing is checked from now on');
SELECT throws_ok('DELETE FROM app.flags', '55000', NULL, 'nothing is deleted');
SELECT throws_ok('TRUNCATE app.flags', '55000', NULL, 'nor truncated');
UPDATE app.flags SET enabled = false WHERE key = 'b';
SELECT is((SELECT concat_ws(' ', namespace, key, action, version) FROM ff.events WHERE id = head()), 'app b disabled 2', 'changes are recorded');

---- which namespace ----
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'boolean', 'false'), ('only-default', 'boolean', 'true');
SELECT is((ff_evaluate('a', '{"user_id": "u"}')).value, 'false', 'default, where nothing is said');
SET LOCAL ff.namespace = 'app';
SELECT is((ff_evaluate('a', '{"user_id": "u"}')).value, 'true', 'that of the setting');
SELECT is((ff_evaluate('a', '{"user_id": "u"}', namespace => 'default')).value, 'false', 'the argument goes before it');
SELECT is(ff_flag('b') ->> 'enabled', 'false', 'for documents');
SELECT is((SELECT string_agg(flag_key, ' ') FROM ff_flags()), 'a b', 'lists');
SELECT is((SELECT string_agg(segment_key, ' ') FROM ff_segments()), 's', 'of segments');
SELECT is((SELECT count(*) FROM ff_audit('b')), 2::bigint, 'history');
SELECT is(ff_enable_flag('b') ->> 'enabled', 'true', 'and changes');
SELECT is((SELECT namespace FROM ff.events WHERE id = head()), 'app', 'which are recorded there');
SELECT ff_disable_flag('a', namespace => 'default') \g /dev/null
SELECT is((SELECT concat_ws(' ', namespace, key, action) FROM ff.events WHERE id = head()), 'default a disabled', 'or where the argument says');
SELECT is((SELECT code FROM refused(sql)), '23503', 'references stay in the namespace: ' || sql) FROM unnest(ARRAY[
	$$SELECT ff_update_flag('a', '{"requires": [{"flag": "only-default", "variant": "on"}]}')$$, $$SELECT ff_update_flag('only-default', '{"rules": [{"if": {"segment": "s"}, "serve": "on"}]}', namespace => 'default')$$]) sql;
RESET ff.namespace;
SELECT is((ff_evaluate('a', namespace => 'nowhere')).error_code IS NOT NULL, true, 'one that is not there has no answer');
SELECT is((SELECT code FROM refused($$SELECT ff_flag('a', 'nowhere')$$)), '42704', 'nor documents');

---- renamed and moved ----
CREATE SCHEMA elsewhere;
ALTER TABLE app.flags RENAME TO "the ""Flags""";
ALTER TABLE app."the ""Flags""" SET SCHEMA elsewhere;
ALTER TABLE app.segments RENAME TO segs;
ALTER SCHEMA app RENAME TO "App's";
SELECT is((ff_evaluate('a', '{"user_id": "u"}', namespace => 'app')).value, 'true', 'renamed and moved tables are evaluated');
SELECT is(ff_update_flag('b', '{"description": "moved"}', namespace => 'app') ->> 'description', 'moved', 'changed');
SELECT is(ff_update_segment('s', '{"included": ["u", "v"]}', namespace => 'app') -> 'version', '6', 'segments, too');
SELECT is((SELECT count(*) FROM ff_flags(namespace => 'app')), 2::bigint, 'listed');
SELECT is((SELECT concat_ws(' ', namespace, object, key, action) FROM ff.events WHERE id = head()), 'app segment s updated', 'and recorded under the same name');
SELECT ok(valid, 'and the log is whole: ' || COALESCE(problem, '')) FROM ff_verify_events();

---- unregistering, and registering anew ----
SELECT is((SELECT code FROM refused($$SELECT ff_unregister('default')$$)), '55000', 'the default namespace stays');
SELECT is((SELECT code FROM refused($$SELECT ff_unregister('nowhere')$$)), '42704', 'what is not there can''t end');
CREATE TEMP TABLE start AS SELECT head() AS id;
SELECT ff_unregister('app') \g /dev/null
SELECT is((SELECT code FROM refused($$SELECT ff_flag('a', 'app')$$)), '42704', 'an unregistered namespace is no more');
SELECT is((ff_evaluate('a', namespace => 'app')).reason, 'ERROR_FALLBACK', 'nothing is evaluated');
SELECT is(triggers('elsewhere."the ""Flags"""') + triggers('"App''s".segs'), 0::bigint, 'the tables are ordinary again');
INSERT INTO elsewhere."the ""Flags""" (key, type, default_value, version, created_at, updated_at) VALUES ('new', 'boolean', 'true', 1, now(), now());
DELETE FROM elsewhere."the ""Flags""" WHERE key = 'a';
UPDATE elsewhere."the ""Flags""" SET owner = 'ann' WHERE key = 'b';
SELECT is(head(), (SELECT id FROM start), 'and what is done to them is not recorded');
SELECT ok(valid, 'nor held against the log') FROM ff_verify_events();
SELECT ff_register('elsewhere."the ""Flags"""', 'app', '"App''s".segs') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', object, key, action), ', ' ORDER BY key COLLATE "C") FROM ff.events WHERE id > (SELECT id FROM start)), 'flag a purged, flag b updated, flag new created', 'registered anew: the log has the difference');
SELECT ok(valid, 'and is whole: ' || COALESCE(problem, '')) FROM ff_verify_events();
UPDATE start SET id = head();
SELECT ff_unregister('app'), ff_register('elsewhere."the ""Flags"""', 'app', '"App''s".segs') \g /dev/null
SELECT is(head(), (SELECT id FROM start), 'where nothing differs, nothing is recorded');
SELECT is((ff_create_flag('{"key": "a", "type": "boolean", "default_value": true}', 'app') ->> 'version')::int > 3, true, 'versions go on');

---- tables that go ----
SELECT ff_create_namespace(n) FROM unnest(ARRAY['one', 'two', 'Three.x-y']) n \g /dev/null
SELECT has_table('ff', 'Three.x-y_flags'::name, 'a namespace has tables of its own');
SELECT is(ff_create_flag('{"key": "a", "type": "boolean", "default_value": true}', 'Three.x-y') ->> 'key', 'a', 'whatever its name is made of');
SELECT ff_create_flag('{"key": "a", "type": "boolean", "default_value": true}', 'one') \g /dev/null
DROP TABLE ff.one_flags;
SELECT is_empty($$SELECT 1 FROM ff.namespaces WHERE name = 'one'$$, 'dropping the flag table unregisters');
SELECT is(triggers('ff.one_segments'), 0::bigint, 'the segment table is ordinary again');
DROP TABLE ff.two_segments;
SELECT is_empty($$SELECT 1 FROM ff.namespaces WHERE name = 'two'$$, 'dropping the segment table, too');
SELECT ff_create_namespace('one') \g /dev/null
SELECT is(log_of('one'), 'flag a created 1, flag a purged 1', 'created anew, with a log that knows what is gone');
DROP SCHEMA elsewhere CASCADE;
SELECT is_empty($$SELECT 1 FROM ff.namespaces WHERE name = 'app'$$, 'dropping the schema unregisters');
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM ff.namespaces), 'Three.x-y default one', 'and nothing else');
SELECT ok(valid, 'the log is whole: ' || COALESCE(problem, '')) FROM ff_verify_events();
DROP EXTENSION ff CASCADE;
SELECT is(to_regnamespace('ff'), NULL, 'DROP EXTENSION takes the namespaces'' tables');
SELECT is(triggers('"App''s".segs'), 0::bigint, 'and leaves others alone');

SELECT * FROM finish();
ROLLBACK;
