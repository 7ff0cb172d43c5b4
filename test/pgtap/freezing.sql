-- While an experiment is active, who gets which variant can't be changed by accident.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(33);

-- Runs a statement; returns SQLSTATE, and the path that an error names.
CREATE FUNCTION tried(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	code text;
	detail text;
BEGIN
	EXECUTE sql;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL;
	RETURN code || ' ' || split_part(detail, ': ', 1);
END
$$;

INSERT INTO ff.flags (key, type, default_value, variants, overrides, rules, rollout, bucketing, experiment) VALUES
	('exp', 'string', '"none"', '{"a": "A", "b": "B"}', '[{"users": ["u"], "variant": "a"}]',
	 '[{"id": "split", "if": {"attr": "x", "op": "exists"}, "serve": [{"variant": "a", "weight": 50}, {"variant": "b", "weight": 50}]},
	   {"if": {"attr": "y", "op": "exists"}, "serve": "b"}, {"id": "one", "if": {"attr": "z", "op": "exists"}, "serve": "a"}]',
	 '[{"variant": "a", "weight": 30}, {"variant": "b", "weight": 30}]', '{"by": "org", "salt": "s"}', '{"active": true}');
CREATE FUNCTION tried_update(change text) RETURNS text LANGUAGE sql AS $$ SELECT tried('UPDATE ff.flags SET ' || change || $q$ WHERE key = 'exp'$q$) $$;
CREATE FUNCTION tried_patch(patch jsonb) RETURNS text LANGUAGE sql AS $$ SELECT tried(format('SELECT ff_update_flag(%L, %L)', 'exp', patch)) $$;

SELECT is(tried_update(change), '55000 ' || path, 'refused: ' || change) FROM (VALUES
	('rollout = ''[{"variant": "a", "weight": 31}, {"variant": "b", "weight": 30}]''', 'rollout'),
	('rollout = ''[{"variant": "b", "weight": 30}, {"variant": "a", "weight": 30}]''', 'rollout'),
	('rollout = NULL', 'rollout'),
	('variants = ''{"a": "A", "b": "C"}''', 'variants'),
	('variants = ''{"a": "A", "b": "B", "c": "C"}''', 'variants'),
	('default_value = ''"A"''', 'default_value'),
	('bucketing = ''{"by": "org", "salt": "t"}''', 'bucketing.salt'),
	('bucketing = ''{"by": "team", "salt": "s"}''', 'bucketing.by'),
	('bucketing = NULL', 'bucketing.by'),
	('rules = jsonb_set(rules, ''{0,serve,0,weight}'', ''40'')', 'rules[0].serve'),
	('rules = jsonb_set(rules, ''{1,serve}'', ''"a"'')', 'rules[1].serve'),
	('rules = rules - 0', 'rules[0]'),
	('rules = jsonb_build_array(rules -> 2, jsonb_set(rules -> 0, ''{serve}'', ''"a"''), rules -> 1)', 'rules[1].serve')) t (change, path);
SELECT is(tried_patch('{"rollout": [{"variant": "a", "weight": 100}]}'), '55000 rollout', 'ff_update_flag is refused, too');
SELECT is(tried($$INSERT INTO ff.flags (key, type, default_value) VALUES ('exp', 'string', '"B"') ON CONFLICT (key) DO UPDATE SET default_value = EXCLUDED.default_value$$),
	'55000 default_value', '... and an upsert');
SELECT is(tried($$MERGE INTO ff.flags f USING (VALUES ('exp')) v (key) ON f.key = v.key WHEN MATCHED THEN UPDATE SET rollout = NULL$$),
	'55000 rollout', '... and MERGE');
SELECT throws_matching($$UPDATE ff.flags SET rollout = NULL WHERE key = 'exp'$$, 'the experiment of flag "exp" is active', 'the message names the flag');

SELECT is(tried_update(change), 'done', 'allowed: ' || change) FROM (VALUES
	('rollout = ''[{"weight": 30, "variant": "a"}, {"variant": "b", "weight": 30.0}]'''),
	('overrides = NULL'),
	('overrides = ''[{"users": ["u", "v"], "variant": "b"}]'''),
	('enabled = false'),
	('enabled = true, tags = ''["t"]'', description = ''d'''),
	('experiment = ''{"active": true, "traffic": 50, "hypothesis": "more"}'''),
	('rules = jsonb_set(rules, ''{0,if,attr}'', ''"country"'')'),
	('rules = rules || ''[{"id": "new", "if": {"attr": "n", "op": "exists"}, "serve": [{"variant": "a", "weight": 50}]}]'''),
	('rules = jsonb_build_array(rules -> 3, rules -> 0, rules -> 1, rules -> 2)'),
	('rules = rules - 3')) t (change);
SELECT is(tried_patch('{"experiment": {"active": false}, "rollout": [{"variant": "a", "weight": 100}]}'), 'done', 'ending it and changing it is one change');
SELECT is(tried_update('rollout = NULL, experiment = ''{"active": true}'''), 'done', 'beginning it and changing it, too');
SELECT is(tried_update('rollout = ''[{"variant": "a", "weight": 1}]'''), '55000 rollout', '... and then it is frozen');
SET LOCAL ff.allow_experiment_change = on;
SELECT is(tried_update('rollout = ''[{"variant": "a", "weight": 1}]'''), 'done', 'who says that he means it may');
RESET ff.allow_experiment_change;
SET LOCAL session_replication_role = replica;
SELECT is(tried_update('rollout = ''[{"variant": "a", "weight": 2}]'''), 'done', 'what is replicated is not refused');
RESET session_replication_role;
SELECT is(tried($$SELECT ff_archive_flag('exp')$$), 'done', 'it can be archived');

SELECT * FROM finish();
ROLLBACK;
