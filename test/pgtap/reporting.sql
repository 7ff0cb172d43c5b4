-- Exposures that programs outside report (ff_record_exposures), and reading them by number to forward them.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT plan(96);
SELECT ff_create_flag('{"key": "exp", "type": "boolean", "default_value": false, "experiment": {"active": true}}') \g /dev/null
SELECT ff_create_namespace('other') \g /dev/null

-- an exposure, with members changed (null: left out)
CREATE FUNCTION one(change jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(jsonb_strip_nulls('{"flag_key": "exp", "variant_key": "on", "user_id": "u", "reason": "ROLLOUT"}'::jsonb || change)) $$;

---- what is written ----
SELECT results_eq($$SELECT * FROM ff_record_exposures('b1', '[{"flag_key": "exp", "variant_key": "on", "user_id": "u1", "reason": "RULE_MATCH", "rule_id": "r", "flag_version": 3,
		"exposed_at": "2026-01-02T03:04:05.678+01:00", "evaluations": 5},
	{"flag_key": "exp", "variant_key": "off", "user_id": "u2", "reason": "DEFAULT", "rule_id": null, "flag_version": null, "exposed_at": null, "evaluations": null},
	{"flag_key": "exp", "variant_key": "off", "user_id": null, "reason": "DEFAULT"}, {"flag_key": "exp", "variant_key": "off", "user_id": "", "reason": "KILL_SWITCH"}]')$$,
	$$VALUES (4::bigint, false)$$, 'a batch is recorded');
SELECT results_eq($$SELECT namespace COLLATE "default", flag_key COLLATE "default", variant_key COLLATE "default", user_id COLLATE "default", exposed_at, reason, rule_id, flag_version, evaluations FROM ff.exposures WHERE user_id = 'u1'$$,
	$$VALUES ('default', 'exp', 'on', 'u1', '2026-01-02 02:04:05.678Z'::timestamptz, 'RULE_MATCH', 'r', 3::bigint, 5::bigint)$$, '... as it was said');
SELECT results_eq($$SELECT exposed_at BETWEEN now() AND clock_timestamp(), rule_id, flag_version, evaluations FROM ff.exposures WHERE user_id = 'u2'$$, $$VALUES (true, NULL::text, NULL::bigint, 1::bigint)$$, 'what may be left out may be null, too');
SELECT is((SELECT count(*) FROM ff.exposures WHERE user_id IS NULL), 2::bigint, 'null or empty: there is no user');
SELECT results_eq($$SELECT variant_key COLLATE "default", evaluations, unique_users FROM ff.exposure_counts ORDER BY 1$$, $$VALUES ('off', 3::bigint, 1::bigint), ('on', 5, 1)$$, 'counted as a flush counts');
SELECT is((SELECT string_agg(user_id || ' ' || variant_key, ',' ORDER BY user_id) FROM ff.assignments), 'u1 on,u2 off', 'users are assigned');
SELECT recorded FROM ff_record_exposures('b2', '[{"flag_key": "exp", "variant_key": "on", "user_id": "u2", "reason": "ROLLOUT"}, {"flag_key": "exp", "variant_key": "on", "user_id": "u3", "reason": "ROLLOUT"},
	{"flag_key": "exp", "variant_key": "on", "user_id": "u3", "reason": "ROLLOUT"}]') \g /dev/null
SELECT is((SELECT string_agg(user_id || first_variant_key || variant_key, ' ') FROM ff.crossovers), 'u2offon', 'crossovers are seen');
SELECT is((SELECT count(*) FROM ff.assignments WHERE user_id = 'u3'), 1::bigint, 'a user who is twice in a batch has one assignment');
SELECT is((SELECT recorded FROM ff_record_exposures('gone', one('{"flag_key": "purged-meanwhile", "variant_key": "blue"}'))), 1::bigint, 'a flag that is not there: it was, and what was shown is kept');
SELECT is((SELECT recorded FROM ff_record_exposures('other', one(), 'other')), 1::bigint, 'another namespace');
SELECT is((SELECT count(*) FROM ff.exposures WHERE namespace = 'other'), 1::bigint, '... is where it lands');
SELECT throws_ok($$SELECT ff_record_exposures('x', one(), 'nowhere')$$, '42704');
SET LOCAL ff.namespace = 'other';
SELECT ff_record_exposures('setting', one('{"user_id": "setting"}')) \g /dev/null
RESET ff.namespace;
SELECT is((SELECT namespace COLLATE "default" FROM ff.exposures WHERE user_id = 'setting'), 'other', 'ff.namespace says which, where none is named');
SELECT ff_record_exposures('future', one('{"user_id": "future", "exposed_at": "9999-12-31T23:59:59Z"}')) \g /dev/null
SELECT is((SELECT exposed_at BETWEEN now() AND clock_timestamp() FROM ff.exposures WHERE user_id = 'future'), true, 'a clock that is ahead: it was now');
SELECT ff_record_exposures('past', one('{"user_id": "past", "exposed_at": "1999-12-31T23:59:59Z"}')) \g /dev/null
SELECT is((SELECT first_at FROM ff.exposure_rollups WHERE hour < '2000-01-01'), '1999-12-31 23:59:59Z'::timestamptz, 'what comes late is not refused');
SELECT is((SELECT row(recorded, duplicate)::text FROM ff_record_exposures('empty', '[]')), '(0,f)', 'a batch of nothing is one');
SELECT is((SELECT recorded FROM ff_record_exposures('longest', one(jsonb_build_object('user_id', repeat('x', 512))))), 1::bigint, 'a user id of 512 bytes');

-- runs of an experiment
SELECT ff_update_flag('exp', '{"experiment": {"active": true, "started_at": "2026-06-01T00:00:00Z"}}') \g /dev/null
SELECT ff_record_exposures('run', one('{"user_id": "u1", "variant_key": "off", "exposed_at": "2026-06-02T00:00:00Z"}')) \g /dev/null
SELECT is((SELECT variant_key COLLATE "default" FROM ff.assignments WHERE user_id = 'u1' AND namespace = 'default'), 'off', 'a new run of the experiment assigns anew');
SELECT is((SELECT count(*) FROM ff.crossovers WHERE user_id = 'u1'), 0::bigint, '... and nobody has crossed over');
SELECT ff_record_exposures('late', one('{"user_id": "u1", "variant_key": "on", "exposed_at": "2026-05-02T00:00:00Z"}')) \g /dev/null
SELECT is((SELECT variant_key COLLATE "default" FROM ff.assignments WHERE user_id = 'u1' AND namespace = 'default'), 'off', 'what comes late from the former run does not');

---- once ----
SELECT is((SELECT row(recorded, duplicate)::text FROM ff_record_exposures('b1', one())), '(0,t)', 'a batch that is sent again');
SELECT is((SELECT row(recorded, duplicate)::text FROM ff_record_exposures('b1', one(), 'other')), '(0,t)', '... whatever the namespace');
SELECT is((SELECT row(recorded, duplicate)::text FROM ff_record_exposures('empty', one())), '(0,t)', '... or what is in it');
SELECT is((SELECT count(*) FROM ff.exposures WHERE user_id = 'u'), 2::bigint, 'writes nothing');
SAVEPOINT a;
SELECT is((SELECT duplicate FROM ff_record_exposures('back', one('{"user_id": "back"}'))), false, 'one that is rolled back');
ROLLBACK TO a;
SELECT is((SELECT duplicate FROM ff_record_exposures('back', one('{"user_id": "back"}'))), false, '... was none');
SELECT is((SELECT count(*) FROM ff.exposures WHERE user_id = 'back'), 1::bigint, '... and is written once');
UPDATE ff.exposure_batches SET received_at = now() - interval '6 days 23 hours' WHERE batch_id = 'b1';
UPDATE ff.exposure_batches SET received_at = now() - interval '7 days 1 hour' WHERE batch_id IN ('b2', 'gone');
SELECT is((SELECT duplicate FROM ff_record_exposures('b1', one())), true, 'known for seven days');
SELECT is((SELECT duplicate FROM ff_record_exposures('b2', one())), false, '... and no longer');
SELECT is((SELECT duplicate FROM ff_record_exposures('b2', one())), true, '... from when it was sent anew');
SELECT count(*) FROM ff_maintain() \g /dev/null
SELECT is((SELECT string_agg(batch_id, ' ' ORDER BY batch_id) FROM ff.exposure_batches WHERE batch_id IN ('b1', 'b2', 'gone')), 'b1 b2', 'ff_maintain forgets those that are older');

---- refused, with the path ----
SELECT throws_ok(format('SELECT ff_record_exposures(%L, %L)', 'refused', one() || one(change)), code, message) FROM (VALUES
	('{"flag_key": null}'::jsonb, '22023', 'exposures[1].flag_key: missing'),
	('{"flag_key": 1}', '22023', 'exposures[1].flag_key: must be a string'),
	('{"flag_key": ""}', '22023', 'exposures[1].flag_key: "" can''t be a key'),
	('{"flag_key": "a b"}', '22023', 'exposures[1].flag_key: "a b" can''t be a key'),
	(jsonb_build_object('flag_key', repeat('x', 256)), '22001', 'exposures[1].flag_key: too long, with 256 bytes'),
	('{"variant_key": null}', '22023', 'exposures[1].variant_key: missing'),
	('{"variant_key": true}', '22023', 'exposures[1].variant_key: must be a string'),
	('{"user_id": null}', '22023', 'exposures[1].user_id: missing'),
	('{"user_id": 17}', '22023', 'exposures[1].user_id: must be a string'),
	(jsonb_build_object('user_id', repeat('x', 513)), '22001', 'exposures[1].user_id: too long, with 513 bytes'),
	(jsonb_build_object('user_id', repeat('ü', 257)), '22001', 'exposures[1].user_id: too long, with 514 bytes'),
	('{"reason": null}', '22023', 'exposures[1].reason: missing'),
	('{"reason": "rollout"}', '22023', 'exposures[1].reason: "rollout" is no reason of an exposure'),
	('{"reason": "ERROR_FALLBACK"}', '22023', 'exposures[1].reason: "ERROR_FALLBACK" is no reason of an exposure'),
	('{"rule_id": 1}', '22023', 'exposures[1].rule_id: must be a string'),
	('{"flag_version": 0}', '22023', 'exposures[1].flag_version: must be a whole number, 1 or more'),
	('{"flag_version": 1.5}', '22023', 'exposures[1].flag_version: must be a whole number, 1 or more'),
	('{"evaluations": "1"}', '22023', 'exposures[1].evaluations: must be a whole number, 1 or more'),
	('{"evaluations": -1}', '22023', 'exposures[1].evaluations: must be a whole number, 1 or more'),
	('{"evaluations": 2147483648}', '22023', 'exposures[1].evaluations: must be a whole number, 1 or more'),
	('{"evaluations": 1e400}', '22023', 'exposures[1].evaluations: must be a whole number, 1 or more'),
	('{"exposed_at": "yesterday"}', '22007', 'exposures[1].exposed_at: must be a time'),
	('{"exposed_at": "2026-02-30T00:00:00Z"}', '22007', 'exposures[1].exposed_at: must be a time'),
	('{"exposed_at": 1700000000}', '22007', 'exposures[1].exposed_at: must be a time'),
	('{"userId": "u"}', '22023', 'exposures[1].userId: unknown member')) t(change, code, message);
SELECT throws_ok(format('SELECT ff_record_exposures(%L, %L)', 'refused', e), code, message) FROM (VALUES
	('[1]', '22023', 'exposures[0]: must be an object'), ('[[]]', '22023', 'exposures[0]: must be an object'), ('{}', '22023', 'exposures: must be an array'),
	('"x"', '22023', 'exposures: must be an array'), (NULL, '22004', 'exposures must not be null')) t(e, code, message);
SELECT throws_ok($$SELECT ff_record_exposures('refused', (SELECT jsonb_agg(one() -> 0) FROM generate_series(1, 10001)))$$, '54000', 'exposures: too many, with 10001 elements');
SELECT throws_ok(format('SELECT ff_record_exposures(%L, %L)', id, one()), code) FROM (VALUES (NULL, '22004'), ('', '22023'), (repeat('x', 256), '22023')) t(id, code);
SELECT is((SELECT count(*) FROM ff.exposure_batches WHERE batch_id = 'refused'), 0::bigint, 'a batch that is refused is not kept');
SELECT is((SELECT recorded FROM ff_record_exposures('refused', (SELECT jsonb_agg(one(jsonb_build_object('user_id', g)) -> 0 || jsonb_build_object('user_id', 'many' || g)) FROM generate_series(1, 10000) g))), 10000::bigint, '... and can be sent anew, with 10000 at most');
CREATE FUNCTION said(sql text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE hint text; BEGIN EXECUTE sql; RETURN NULL; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; RETURN hint; END $$;
SELECT is(said($$SELECT ff_record_exposures('x', one('{"user_id": null}'))$$), 'Say null where there is no user.', 'there is a hint');

---- who may ----
CREATE ROLE ff_test_bridge;
GRANT EXECUTE ON FUNCTION one, said TO ff_test_bridge;
SET LOCAL ROLE ff_test_bridge;
SELECT throws_ok($$SELECT ff_record_exposures('role', one())$$, '42501', 'permission denied to record exposures of namespace "default"');
RESET ROLE; SELECT ff_grant('ff_test_bridge', 'write') \g /dev/null
SET LOCAL ROLE ff_test_bridge;
SELECT is((SELECT recorded FROM ff_record_exposures('role', one())), 1::bigint, 'who may write the flags of a namespace');
SELECT throws_ok($$SELECT ff_record_exposures('role', one(), 'other')$$, '42501', NULL, '... not those of another');
RESET ROLE; SELECT ff_revoke('ff_test_bridge', 'evaluate') \g /dev/null
GRANT INSERT ON ff.exposures TO ff_test_bridge;
SET LOCAL ROLE ff_test_bridge;
SELECT is((SELECT recorded FROM ff_record_exposures('role2', one(), 'other')), 1::bigint, 'who may insert exposures, and nothing else');
SELECT throws_ok('SELECT * FROM ff_exposures_after(0)', '42501', NULL, 'may not read them');
SELECT throws_ok($$SELECT * FROM ff_exposure_cursor('c')$$, '42501');
SELECT throws_ok($$SELECT ff_move_exposure_cursor('c', 0, 1)$$, '42501');
RESET ROLE; GRANT SELECT ON ff.exposures TO ff_test_bridge;

---- in the order of numbers ----
SELECT is((SELECT count(*) FROM ff_exposures_after(0, NULL)), (SELECT count(*) FROM ff.exposures), 'every row has a number');
SELECT is((SELECT count(DISTINCT id) FROM ff.exposures), (SELECT count(*) FROM ff.exposures), '... of its own');
SELECT is((SELECT count(*) FROM ff_exposures_after(0)), 100::bigint, '100 at once');
SELECT results_eq('SELECT id FROM ff_exposures_after(5, 7000)', 'SELECT id FROM ff.exposures WHERE id > 5 ORDER BY id LIMIT 7000', 'in order');
SELECT is_empty('SELECT * FROM ff_exposures_after(0, NULL) EXCEPT SELECT id, namespace, flag_key, variant_key, user_id, exposed_at, reason, rule_id, flag_version, evaluations FROM ff.exposures', '... as they are');
INSERT INTO ff.exposures (namespace, flag_key, variant_key, user_id, exposed_at, reason) VALUES ('default', 'exp', 'on', 'hand', now(), 'ROLLOUT');
SELECT is((SELECT count(*) FROM ff_exposures_after(0, NULL) WHERE user_id = 'hand'), 0::bigint, 'what is written by hand has no number');
SELECT throws_ok('SELECT * FROM ff_exposures_after(NULL)', '22004');
SELECT throws_ok('SELECT * FROM ff_exposures_after(0, -1)', '2201W');
SET LOCAL ROLE ff_test_bridge;
SELECT is((SELECT row(last_id, newest_id = (SELECT max(id) FROM ff.exposures), updated_at)::text FROM ff_exposure_cursor('c')), '(0,t,)', 'a cursor that is not there yet is at 0');
SELECT is(ff_move_exposure_cursor('c', 5, 10), false, '... and nowhere else');
SELECT is(ff_move_exposure_cursor('c', 0, 10), true, 'it is moved');
SELECT is(ff_move_exposure_cursor('c', 0, 20), false, '... by who knows where it is');
SELECT is(ff_move_exposure_cursor('c', 10, 0), true, 'back, too');
SELECT is(ff_move_exposure_cursor('c', 0, 30), true, '... and on');
SELECT is((SELECT row(last_id, updated_at > now())::text FROM ff_exposure_cursor('c')), '(30,t)', 'where it is');
SELECT is((SELECT last_id FROM ff_exposure_cursor('d')), 0::bigint, 'each name is another');
SELECT throws_ok(sql, code) FROM (VALUES ($$SELECT ff_exposure_cursor('')$$, '22023'), ($$SELECT ff_exposure_cursor(NULL)$$, '22004'), ($$SELECT ff_move_exposure_cursor('c', NULL, 1)$$, '22004'),
	($$SELECT ff_move_exposure_cursor('c', 30, -1)$$, '22023')) t(sql, code);
SELECT throws_ok('SELECT * FROM ff.exposure_cursors', '42501', NULL, 'the table is nobody''s');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
