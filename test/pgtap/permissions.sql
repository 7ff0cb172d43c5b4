-- Who may do what, and that nothing which others have planted is ever run.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- events are written at once
SELECT plan(803);

INSERT INTO ff.segments (key, included) VALUES ('s', '["secret-user"]');
INSERT INTO ff.flags (key, type, default_value, rules, description) VALUES
	('f', 'boolean', 'false', '[{"if": {"segment": "s"}, "serve": "on"}]', 'secret'), ('g', 'boolean', 'true', NULL, 'secret');
INSERT INTO ff.flags (key, type, default_value, state) VALUES ('old', 'boolean', 'true', 'archived');
INSERT INTO ff.segments (key, included, state) VALUES ('old', '["secret-user"]', 'archived');
CREATE ROLE ff_test_role;

-- Every function, what is needed for it, and a call. Each call is taken back.
CREATE TEMP TABLE calls (func text, needs text, sql text);
INSERT INTO calls VALUES
	('ff_evaluate', 'evaluate', $$SELECT (@.ff_evaluate('f')).value$$), ('ff_bool', 'evaluate', $$SELECT @.ff_bool('f')$$),
	('ff_string', 'evaluate', $$SELECT @.ff_string('f', NULL, 'x')$$), ('ff_number', 'evaluate', $$SELECT @.ff_number('f', NULL, 1)$$),
	('ff_json', 'evaluate', $$SELECT @.ff_json('f', NULL, '1')$$), ('ff_evaluate_all', 'evaluate', $$SELECT * FROM @.ff_evaluate_all('{}')$$),
	('ff_cache_info', 'nothing', 'SELECT * FROM @.ff_cache_info()'), ('ff_last_evaluated', 'evaluate', $$SELECT @.ff_last_evaluated('f')$$),
	('ff_stale_flags', 'nothing', 'SELECT * FROM @.ff_stale_flags()'),
	('ff_flag', 'read', $$SELECT @.ff_flag('f')$$), ('ff_segment', 'read', $$SELECT @.ff_segment('s')$$), ('ff_explain', 'read', $$SELECT * FROM @.ff_explain('f')$$),
	('ff_flags', 'read', $$SELECT * FROM @.ff_flags('active', 'tag', 'owner', 'search', 10, 'a')$$), ('ff_segments', 'read', $$SELECT * FROM @.ff_segments('active', 'search', 10, 'a')$$),
	('ff_audit', 'read', $$SELECT * FROM @.ff_audit('f', 10, 0)$$), ('ff_audit', 'read', $$SELECT * FROM @.ff_audit('s', object => 'segment')$$),
	('ff_create_flag', 'write', $$SELECT @.ff_create_flag('{"key": "n", "type": "boolean", "default_value": true}')$$), ('ff_create_segment', 'write', $$SELECT @.ff_create_segment('{"key": "n", "included": ["u"]}')$$),
	('ff_update_flag', 'write', $$SELECT @.ff_update_flag('f', '{"owner": "x"}')$$), ('ff_update_segment', 'write', $$SELECT @.ff_update_segment('s', '{"description": "x"}')$$),
	('ff_replace_flag', 'write', $$SELECT @.ff_replace_flag('f', '{"type": "boolean", "default_value": true}')$$), ('ff_replace_segment', 'write', $$SELECT @.ff_replace_segment('s', '{"included": ["x"]}')$$),
	('ff_archive_flag', 'write', $$SELECT @.ff_archive_flag('f')$$), ('ff_archive_segment', 'write', $$SELECT @.ff_archive_segment('old')$$),
	('ff_restore_flag', 'write', $$SELECT @.ff_restore_flag('old')$$), ('ff_restore_segment', 'write', $$SELECT @.ff_restore_segment('old')$$),
	('ff_enable_flag', 'write', $$SELECT @.ff_enable_flag('f')$$), ('ff_disable_flag', 'write', $$SELECT @.ff_disable_flag('f')$$),
	('ff_revert_flag', 'write', format($$SELECT @.ff_revert_flag('f', %s)$$, (SELECT min(id) FROM ff.events WHERE key = 'f'))), ('ff_revert_segment', 'write', format($$SELECT @.ff_revert_segment('s', %s)$$, (SELECT min(id) FROM ff.events WHERE key = 's'))),
	('ff_purge_flag', 'admin', $$SELECT @.ff_purge_flag('old')$$), ('ff_purge_segment', 'admin', $$SELECT @.ff_purge_segment('old')$$),
	('ff_exposures', 'read', $$SELECT @.ff_exposures('f')$$), ('ff_allocations', 'nothing', 'SELECT * FROM @.ff_allocations()'),
	('ff_chi_squared_p', 'nothing', 'SELECT @.ff_chi_squared_p(1, 1)'), ('ff_status', 'nothing', 'SELECT * FROM @.ff_status()'),
	('ff_record_exposures', 'write', $$SELECT * FROM @.ff_record_exposures('b', '[{"flag_key": "f", "variant_key": "on", "user_id": "u", "reason": "DEFAULT"}]')$$),
	('ff_exposures_after', 'owner', 'SELECT * FROM @.ff_exposures_after(0)'), ('ff_exposure_cursor', 'owner', $$SELECT * FROM @.ff_exposure_cursor('c')$$), ('ff_move_exposure_cursor', 'owner', $$SELECT @.ff_move_exposure_cursor('c', 0, 1)$$),
	('ff_flush_exposures', 'owner', 'SELECT @.ff_flush_exposures()'), ('ff_maintain', 'owner', 'SELECT * FROM @.ff_maintain()'),
	('ff_exposure_buffer', 'owner', 'SELECT * FROM @.ff_exposure_buffer()'), ('ff_exposure_stats', 'owner', 'SELECT * FROM @.ff_exposure_stats()'),
	('ff_experiment', 'owner', $$SELECT * FROM @.ff_experiment('f', 'pg_catalog.pg_class', 'relname')$$),
	('ff_last_event', 'nothing', 'SELECT * FROM @.ff_last_event()'), ('ff_event_head', 'nothing', 'SELECT * FROM @.ff_event_head()'), ('ff_namespaces', 'nothing', 'SELECT * FROM @.ff_namespaces()'), ('ff_events_after', 'nothing', 'SELECT * FROM @.ff_events_after(0)'),
	('ff_documents', 'read', $$SELECT * FROM @.ff_documents('default')$$), ('ff_documents', 'nothing', 'SELECT * FROM @.ff_documents()'),
	('ff_verify_events', 'owner', 'SELECT * FROM @.ff_verify_events()'), ('ff_create_namespace', 'owner', $$SELECT @.ff_create_namespace('n')$$),
	('ff_unregister', 'owner', $$SELECT @.ff_unregister('left')$$), ('ff_register', 'owner', $$SELECT @.ff_register('public.own', 'own')$$),
	('ff_grant', 'grantor', $$SELECT @.ff_grant('ff_test_role', 'read')$$), ('ff_revoke', 'grantor', $$SELECT @.ff_revoke('ff_test_role', 'read')$$);
SELECT is_empty($$SELECT proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ff' WHERE prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
	EXCEPT SELECT func::name FROM calls$$, 'there is a call of every function');
-- SQLSTATE of a call, or 'ok', or for an evaluation that failed what it said
CREATE FUNCTION outcome(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	BEGIN
		EXECUTE replace(sql, '@', 'public') INTO answer;
		RAISE SQLSTATE 'XX999';
	EXCEPTION WHEN SQLSTATE 'XX999' THEN
		RETURN 'ok';
	END;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT ff_create_namespace('left') \g /dev/null
CREATE TABLE public.own (LIKE ff.flags INCLUDING ALL);
GRANT SELECT ON calls TO ff_test_role;

-- What the role may do with each privilege, in the order in which they include one another.
CREATE FUNCTION matrix(privilege text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c record;
	allowed text[] := (ARRAY['nothing', 'evaluate', 'read', 'write', 'admin'])[1:array_position(ARRAY['nothing', 'evaluate', 'read', 'write', 'admin'], privilege)];
BEGIN
	FOR c IN SELECT func, needs, sql, outcome(sql) FROM calls WHERE needs NOT IN ('evaluate', 'grantor') LOOP
		RETURN NEXT is(c.outcome, CASE WHEN c.needs = ANY (allowed) THEN 'ok' ELSE '42501' END, format('with %s: %s', privilege, c.sql));
	END LOOP;
	RETURN NEXT is((public.ff_evaluate('g')).reason, CASE WHEN 'evaluate' = ANY (allowed) THEN 'DEFAULT' ELSE 'ERROR_FALLBACK' END, format('with %s: evaluation', privilege));
END $$;

REVOKE SELECT (key) ON ff.flags FROM PUBLIC;
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('nothing');
SELECT is((SELECT string_agg(DISTINCT error_code, ' ') FROM ff_evaluate_all('{}')) IS NOT NULL, true, 'without evaluate: no flag is listed with an answer');
RESET ROLE; SELECT ff_grant('ff_test_role', 'evaluate') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('evaluate');
SELECT is((ff_evaluate('f', '{"user_id": "secret-user"}')).value, 'true', 'a segment that can''t be read is evaluated');
SELECT is_empty('SELECT * FROM ff.stale_flags', 'the view shows nothing to who may not read');
RESET ROLE; SELECT ff_grant('ff_test_role', 'read') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('read');
RESET ROLE; SELECT ff_grant('ff_test_role', 'write') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('write');
RESET ROLE; SELECT ff_grant('ff_test_role', 'admin') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('admin');
SET LOCAL client_min_messages = error; -- it is a warning, as with a plain GRANT
SELECT ff_grant('public', 'admin') \g /dev/null
RESET client_min_messages;
SELECT is(has_table_privilege('public', 'ff.segments', 'SELECT') OR has_column_privilege('public', 'ff.flags', 'key', 'SELECT'), false, 'who was granted can''t pass it on');
SELECT is(outcome('DELETE FROM ff.flags'), '55000', 'who may purge still may not DELETE');
-- step by step back
RESET ROLE; SELECT ff_revoke('ff_test_role', 'admin') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('write');
RESET ROLE; SELECT ff_revoke('ff_test_role', 'write') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('read');
RESET ROLE; SELECT ff_revoke('ff_test_role', 'read') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('evaluate');
RESET ROLE; SELECT ff_grant('ff_test_role', 'admin'), ff_revoke('ff_test_role', 'evaluate') \g /dev/null
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('nothing');
-- plain GRANTs do the same
RESET ROLE; GRANT SELECT (key) ON ff.flags TO ff_test_role;
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('evaluate');
RESET ROLE; GRANT SELECT ON ff.flags, ff.segments TO ff_test_role;
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('read');
RESET ROLE; GRANT INSERT, UPDATE ON ff.flags, ff.segments TO ff_test_role;
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('write');
RESET ROLE; GRANT DELETE ON ff.flags, ff.segments TO ff_test_role;
SET LOCAL ROLE ff_test_role; SELECT * FROM matrix('admin');
RESET ROLE; REVOKE ALL ON ff.flags, ff.segments FROM ff_test_role;
GRANT SELECT ON ff.flags TO ff_test_role; GRANT UPDATE (enabled) ON ff.flags TO ff_test_role;
SET LOCAL ROLE ff_test_role;
SELECT is(outcome($$SELECT ff_disable_flag('f')$$), 'ok', 'who may change one column alone can throw the kill switch');
SELECT is(outcome($$SELECT ff_update_flag('f', '{"owner": "x"}')$$), '42501', 'and nothing else');
RESET ROLE; REVOKE ALL ON ff.flags FROM ff_test_role; REVOKE UPDATE (enabled) ON ff.flags FROM ff_test_role;
SELECT throws_ok(sql, code, NULL, sql) FROM (VALUES ($$SELECT ff_grant('ff_test_role', 'own')$$, '22023'), ($$SELECT ff_grant('nobody-here', 'read')$$, '42704'), ($$SELECT ff_grant(NULL, 'read')$$, '22004'),
	($$SELECT ff_grant('ff_test_role', NULL)$$, '22004'), ($$SELECT ff_grant('ff_test_role', 'read', 'nowhere')$$, '42704'), ($$SELECT ff_revoke('ff_test_role', '')$$, '22023')) t(sql, code);
-- each namespace has its own, and names are quoted
CREATE ROLE "ff test; ""role""";
SELECT ff_grant('ff test; "role"', 'read', 'left') \g /dev/null
SELECT ok(has_table_privilege('ff test; "role"', 'ff.left_flags', 'SELECT') AND NOT has_table_privilege('ff test; "role"', 'ff.flags', 'SELECT'), 'a grant is for one namespace, whatever the role is called');
SELECT ff_grant('PUBLIC', 'evaluate') \g /dev/null
SELECT ok(has_column_privilege('ff_test_role', 'ff.flags', 'key', 'SELECT'), 'public is everybody');

---- what doc/security.md says of operators ----
SET LOCAL ROLE ff_test_role;
SELECT is(outcome('SELECT * FROM ff.exposure_buffer') || ' ' || outcome('SELECT ff_flush_exposures()') || ' ' || outcome('SELECT * FROM ff_maintain()'), '42501 42501 42501', 'who was granted nothing of exposures');
RESET ROLE;
GRANT EXECUTE ON FUNCTION ff_flush_exposures(), ff_maintain(), ff_exposure_buffer() TO ff_test_role;
GRANT SELECT ON ff.exposure_buffer TO ff_test_role;
SET LOCAL ROLE ff_test_role;
SELECT is(outcome('SELECT ff_flush_exposures()') || ' ' || outcome('SELECT * FROM ff_maintain()'), 'ok ok', 'who was granted two functions can flush and maintain');
SELECT is(outcome('SELECT * FROM ff.exposure_buffer'), 'ok', '... and look into the buffer with a grant on view and function');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION ff_flush_exposures(), ff_maintain(), ff_exposure_buffer() FROM ff_test_role;
REVOKE SELECT ON ff.exposure_buffer FROM ff_test_role;

---- row-level security ----
SELECT ff_grant('ff_test_role', 'admin') \g /dev/null
UPDATE ff.flags SET owner = 'team' WHERE key = 'g';
INSERT INTO ff.flags (key, type, default_value, owner, state) VALUES ('ours', 'boolean', 'true', 'team', 'archived');
ALTER TABLE ff.flags ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON ff.flags TO ff_test_role USING (owner = 'team');
SET LOCAL ROLE ff_test_role;
SELECT is((SELECT string_agg(flag_key, ' ') FROM ff_flags()), 'g ours', 'a policy: only its rows are listed');
SELECT is(ff_flag('f'), NULL, 'only they can be seen');
SELECT is(outcome(format('SELECT %s(''f''%s)', f, rest)), '42704', 'another is not there for ' || f) FROM (VALUES ('ff_update_flag', $$, '{"owner": "team"}'$$), ('ff_replace_flag', $$, '{"type": "boolean", "default_value": true}'$$),
	('ff_archive_flag', ''), ('ff_restore_flag', ''), ('ff_enable_flag', ''), ('ff_disable_flag', ''), ('ff_purge_flag', ''), ('ff_revert_flag', ', 3')) t(f, rest);
SELECT is_empty($$SELECT * FROM ff_audit('f')$$, 'nor has it a history');
SELECT isnt_empty($$SELECT * FROM ff_audit('g')$$, 'which one''s own has');
SELECT is_empty($$UPDATE ff.flags SET enabled = false WHERE key = 'f' RETURNING key$$, 'plain UPDATE does not find it');
SELECT is(outcome($$SELECT ff_update_flag('g', '{"description": "x"}')$$), 'ok', 'one''s own can be changed');
SELECT is(outcome($$SELECT ff_purge_flag('ours')$$), 'ok', 'and purged');
SELECT is(outcome($$SELECT ff_update_flag('g', '{"owner": "others"}')$$), '42501', 'not given away');
SELECT is(outcome($$SELECT ff_create_flag('{"key": "n", "type": "boolean", "default_value": true, "owner": "others"}')$$), '42501', 'none is created for others');
SELECT is(outcome($$SELECT ff_create_flag('{"key": "n", "type": "boolean", "default_value": true, "owner": "team"}')$$), 'ok', 'one of one''s own is');
SELECT is((ff_evaluate('f', '{"user_id": "secret-user"}')).value, 'true', 'evaluation knows of no policy');
RESET ROLE;
ALTER TABLE ff.flags DISABLE ROW LEVEL SECURITY;

---- the catalog ----
CREATE TEMP VIEW ours AS SELECT p.* FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ff';
SELECT is_empty('SELECT proname FROM ours WHERE prosecdef', 'no function runs with others'' rights');
SELECT is_empty($$SELECT proname FROM ours JOIN pg_language l ON l.oid = prolang WHERE lanname <> 'c' AND NOT COALESCE(array_to_string(proconfig, ' ') ~ 'search_path=', false)$$, 'none but C, or with a search_path of its own');
SELECT is((SELECT string_agg(proname, ' ' ORDER BY proname) FROM ours WHERE NOT has_function_privilege('ff_test_role', oid, 'EXECUTE')),
	'ff_check_trigger ff_create_namespace ff_drop_trigger ff_exposure_buffer ff_exposure_stats ff_flush_exposures ff_invalidate_trigger ff_maintain ff_namespace_trigger ff_protect_events_trigger ff_protect_trigger ff_record_trigger ff_register ff_unregister ff_validate_trigger ff_verify_events', 'what not everybody may call');
SELECT is_empty($$SELECT proname FROM ours WHERE obj_description(oid, 'pg_proc') IS NULL$$, 'every function says what it is for');
SET LOCAL ROLE ff_test_role;
SELECT throws_ok(format('SELECT * FROM ff.%I', t), '42501', NULL, 'not everybody''s: ff.' || t) FROM unnest(ARRAY['events', 'left_flags', 'left_segments', 'exposures', 'exposure_batches', 'exposure_cursors', 'exposure_ids']) t;
SELECT throws_ok(sql, '42501', NULL, sql) FROM unnest(ARRAY['CREATE TABLE ff.mine ()', 'INSERT INTO ff.events SELECT 1', 'DELETE FROM ff.namespaces', 'DROP TRIGGER zz_ff_record ON ff.flags', 'ALTER TABLE ff.flags DISABLE TRIGGER ALL']) sql;
RESET ROLE;

---- what others have planted ----
SAVEPOINT clean;
CREATE SCHEMA trap;
CREATE TABLE trap.sprung (what text);
GRANT USAGE ON SCHEMA trap TO PUBLIC; GRANT INSERT, SELECT ON trap.sprung TO PUBLIC;
CREATE FUNCTION trap.spring(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sprung: %', what USING ERRCODE = 'XX998'; END $$;
DO $do$
DECLARE
	s text; t text; u text; o text;
BEGIN
	FOREACH s IN ARRAY ARRAY['trap', 'public'] LOOP
		-- operators, of the types that fit best and of those that fit all
		FOR t, u IN VALUES ('text', 'text'), ('int8', 'int8'), ('int4', 'int4'), ('int8', 'int4'), ('int4', 'int8'), ('jsonb', 'text'), ('jsonb', 'jsonb'), ('regclass', 'regclass'), ('oid', 'oid'), ('name', 'text'), ('name', 'name'), ('bool', 'bool') LOOP
			EXECUTE format($$CREATE FUNCTION %I.trapped(a pg_catalog.%s, b pg_catalog.%s) RETURNS pg_catalog.bool LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(''operator''); RETURN true; END'$$, s, t, u);
			FOREACH o IN ARRAY ARRAY['=', '<>', '>', '<', '>=', '<=', '?', '~', '||', '->', '->>', '@>'] LOOP
				EXECUTE format('CREATE OPERATOR %I.%s (leftarg = pg_catalog.%s, rightarg = pg_catalog.%s, function = %I.trapped)', s, o, t, u, s);
			END LOOP;
		END LOOP;
		FOREACH o IN ARRAY ARRAY['lower(pg_catalog.text)', 'strpos(pg_catalog.text, pg_catalog.text)', 'concat_ws(pg_catalog.text, pg_catalog.text, pg_catalog.text)', 'now()', 'jsonb_populate_record(anyelement, pg_catalog.jsonb)', 'jsonb_concat(pg_catalog.jsonb, pg_catalog.jsonb)', 'format(pg_catalog.text)', 'max(pg_catalog.int8)',
			'to_regclass(pg_catalog.text)', 'sha256(pg_catalog.bytea)', 'inet_client_addr()', 'numeric_int8(pg_catalog.numeric)'] LOOP
			EXECUTE format($$CREATE FUNCTION %I.%s RETURNS %s LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(''function''); RETURN NULL; END'$$, s, o, CASE WHEN o LIKE 'jsonb_populate%' THEN 'anyelement' ELSE 'pg_catalog.text' END);
		END LOOP;
		FOREACH t IN ARRAY ARRAY['text', 'bigint', 'jsonb', 'regclass', 'int8', 'bool', 'timestamptz'] LOOP
			EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.int4 CHECK (false)', s, t);
		END LOOP;
		FOREACH t IN ARRAY ARRAY['flags', 'segments', 'events', 'namespaces', 'pg_class', 'pg_namespace', 'pg_trigger', 'cache_epoch'] LOOP
			EXECUTE format('CREATE TABLE %I.%I (trapped pg_catalog.int4)', s, t);
		END LOOP;
	END LOOP;
END $do$;
CREATE FUNCTION trap.uses(sql pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$
DECLARE said pg_catalog.text;
BEGIN
	BEGIN
		EXECUTE pg_catalog.replace(sql, '@', 'public');
		RAISE SQLSTATE 'XX999';
	EXCEPTION WHEN SQLSTATE 'XX999' THEN
		RETURN 'ok';
	END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS said = MESSAGE_TEXT;
	RETURN pg_catalog.concat_ws(' ', SQLSTATE, said);
END $$;
-- the calls' results, gathered while the path is the hostile one and compared when it no longer is
CREATE TEMP TABLE results (who pg_catalog.text, sql pg_catalog.text, result pg_catalog.text);
GRANT INSERT ON results TO ff_test_role;
INSERT INTO calls VALUES ('ff_grant', 'grantor', $$SELECT @.ff_grant('ff_test_role', 'admin', 'left')$$), ('plain', 'admin', $$INSERT INTO ff.flags (key, type, default_value) VALUES ('n', 'boolean', 'true')$$),
	('plain', 'admin', $$UPDATE ff.flags SET state = 'archived', requires = NULL WHERE ff.flags.key OPERATOR(pg_catalog.=) 'g'$$), ('view', 'nothing', 'SELECT * FROM ff.stale_flags'),
	('ff_drop_trigger', 'owner', 'DROP TABLE ff.left_flags'), ('ff_create_namespace', 'owner', $$DO 'BEGIN PERFORM @.ff_create_namespace(''m''); PERFORM @.ff_unregister(''m''); PERFORM @.ff_create_namespace(''m''); END'$$);
SET LOCAL search_path = trap, public, pg_temp, pg_catalog;
INSERT INTO pg_temp.results SELECT 'superuser', c.sql, trap.uses(c.sql) FROM pg_temp.calls c;
SET LOCAL ROLE ff_test_role;
INSERT INTO pg_temp.results SELECT 'role', c.sql, trap.uses(c.sql) FROM pg_temp.calls c WHERE c.needs OPERATOR(pg_catalog.<>) 'owner' AND c.needs OPERATOR(pg_catalog.<>) 'grantor';
INSERT INTO pg_temp.results SELECT 'role', 'evaluation, which raises nothing', CASE WHEN e.error_code IS NULL THEN 'ok' ELSE pg_catalog.concat('sprung: ', e.error_code) END
FROM public.ff_evaluate('f', '{"user_id": "secret-user"}') e;
RESET ROLE;
CREATE FUNCTION trap.is_sprung() RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ DECLARE r pg_catalog.bool; BEGIN r := 'a'::pg_catalog.text = 'b'::pg_catalog.text; RETURN 'not sprung'; EXCEPTION WHEN SQLSTATE 'XX998' THEN RETURN 'sprung'; END $$;
SELECT pg_catalog.jsonb_agg(r) AS results, trap.is_sprung() AS control FROM pg_temp.results r \gset
ROLLBACK TO clean; -- pgTAP itself would be caught
SELECT is(:'control'::text, 'sprung', 'the traps work');
CREATE TEMP TABLE results AS SELECT * FROM jsonb_to_recordset(:'results') AS r(who text, sql text, result text);
SELECT is(result, 'ok', format('traps in the path of a %s: %s', who, sql)) FROM results;
SELECT is_empty($$SELECT * FROM results WHERE result LIKE '%sprung%' OR result LIKE 'XX%'$$, 'none was sprung');

SELECT * FROM finish();
ROLLBACK;
