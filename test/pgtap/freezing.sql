-- What an active experiment freezes, what it leaves free, and the ways around.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(85);

-- Runs a statement and undoes it; returns SQLSTATE, and message, detail and hint.
CREATE FUNCTION refused(sql text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	RAISE EXCEPTION USING ERRCODE = '00F00', MESSAGE = 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;

INSERT INTO ff.flags (key, type, default_value) VALUES ('other', 'boolean', 'true');
INSERT INTO ff.flags (key, type, default_value, variants, rules, rollout, bucketing, experiment) VALUES
	('x', 'string', '"none"', '{"a": "A", "b": "B"}',
	 '[{"id": "split", "if": {"attr": "p", "op": "exists"}, "serve": [{"variant": "a", "weight": 50}, {"variant": "b", "weight": 50}]},
	   {"if": {"attr": "q", "op": "exists"}, "serve": "a"},
	   {"id": "plain", "if": {"attr": "r", "op": "exists"}, "serve": "b"},
	   {"if": {"attr": "s", "op": "exists"}, "serve": [{"variant": "b", "weight": 10}]}]',
	 '[{"variant": "a", "weight": 50}, {"variant": "b", "weight": 50}]',
	 '{"by": "org", "salt": "pepper"}', '{"active": true, "traffic": 50, "started_at": "2026-01-01T00:00:00Z"}'),
	('plain', 'boolean', 'false', NULL, NULL, NULL, NULL, '{"active": true}');

-- Statements that change flag x's rules: a path is given another value, or taken away.
CREATE FUNCTION rules(path text[], val jsonb) RETURNS text LANGUAGE sql AS
	$$SELECT format('rules = %L', CASE WHEN val IS NULL THEN rules #- path ELSE jsonb_set(rules, path, val) END)
	FROM ff.flags WHERE key = 'x'$$;

---- what is frozen: an assignment, the path, and what is done to it ----
CREATE TEMP TABLE frozen (sets text, path text, done text DEFAULT 'change');
INSERT INTO frozen VALUES
	($$variants = '{"a": "A", "b": "BB"}'$$, 'variants'),
	($$variants = '{"a": "A", "b": "B", "c": "C"}'$$, 'variants'),
	($$default_value = '"some"'$$, 'default_value'),
	($$rollout = '[{"variant": "a", "weight": 60}, {"variant": "b", "weight": 40}]'$$, 'rollout'),
	($$rollout = '[{"variant": "b", "weight": 50}, {"variant": "a", "weight": 50}]'$$, 'rollout'),
	($$rollout = NULL$$, 'rollout'),
	($$rollout = '[]'$$, 'rollout'),
	($$bucketing = '{"by": "user_id", "salt": "pepper"}'$$, 'bucketing.by'),
	($$bucketing = '{"salt": "pepper"}'$$, 'bucketing.by'),
	($$bucketing = '{"by": "org", "salt": "salt"}'$$, 'bucketing.salt'),
	($$bucketing = '{"by": "org"}'$$, 'bucketing.salt'),
	($$bucketing = NULL$$, 'bucketing.by'),
	(rules('{0,serve,0,weight}', '49'), 'rules[0].serve'),
	(rules('{0,serve}', '"a"'), 'rules[0].serve'),
	(rules('{1,serve}', '"b"'), 'rules[1].serve'),
	(rules('{2,serve}', '"a"'), 'rules[2].serve'),
	(rules('{2,serve}', '[{"variant": "b", "weight": 100}]'), 'rules[2].serve'),
	(rules('{3,serve,0,variant}', '"a"'), 'rules[3].serve'),
	(rules('{1}', NULL), 'rules[2].serve'), -- what stood behind it takes its place
	($$experiment = '{"active": true, "traffic": 100}', rollout = NULL$$, 'rollout'),
	($$enabled = false, rollout = NULL$$, 'rollout');
INSERT INTO frozen VALUES
	(rules('{0}', NULL), 'rules[0]', 'removal'),
	(rules('{3}', NULL), 'rules[3]', 'removal'),
	(rules('{0,id}', '"renamed"'), 'rules[0]', 'removal'),
	($$rules = NULL$$, 'rules[0]', 'removal'),
	($$rules = '[]'$$, 'rules[0]', 'removal');
SELECT is((r.code, r.message, r.detail)::text,
	('55000', 'the experiment of flag "x" is active',
	 format('%s: its %s would reshuffle users among variants.', path, done))::text, 'frozen: ' || sets)
FROM frozen, refused(format('UPDATE ff.flags SET %s WHERE key = ''x''', sets)) r;
SELECT is((refused($$UPDATE ff.flags SET rollout = NULL WHERE key = 'x'$$)).hint,
	'End it with "experiment": {"active": false}, in the same change or before, or SET ff.allow_experiment_change = on.',
	'with a hint');
SELECT is((refused($$UPDATE ff.flags SET variants = '{"on": true, "off": false, "odd": true}' WHERE key = 'plain'$$)).detail,
	'variants: its change would reshuffle users among variants.', 'members that were not given are frozen, too: variants');
SELECT is((refused($$UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": 1}]' WHERE key = 'plain'$$)).detail,
	'rollout: its change would reshuffle users among variants.', 'rollout');
SELECT is((refused($$UPDATE ff.flags SET bucketing = '{"salt": "s"}' WHERE key = 'plain'$$)).detail,
	'bucketing.salt: its change would reshuffle users among variants.', 'salt');

---- what is not ----
CREATE TEMP TABLE free (sets text);
INSERT INTO free VALUES
	($$enabled = false$$),
	($$state = 'archived'$$),
	($$description = 'd', owner = 'o', tags = '["t"]', expires_at = now()$$),
	($$requires = '[{"flag": "other", "variant": "on"}]'$$),
	($$overrides = '[{"variant": "a", "users": ["u"]}]'$$),
	($$experiment = '{"active": true, "traffic": 100, "hypothesis": "h", "ended_at": "2027-01-01T00:00:00Z"}'$$),
	(rules('{2}', NULL)),
	(rules('{0,if}', '{"attr": "z", "op": "exists"}')),
	(rules('{0,serve}', '[{"weight": 50.0, "variant": "a"}, {"weight": 50, "variant": "b"}]')),
	($$rules = rules || '[{"id": "last", "if": {"attr": "z", "op": "exists"}, "serve": [{"variant": "a", "weight": 5}]}]'$$),
	($$rules = '[{"id": "first", "if": {"attr": "z", "op": "exists"}, "serve": "a"}]' || rules$$),
	($$rules = jsonb_build_array(rules -> 2, rules -> 1, rules -> 0, rules -> 3)$$),
	($$rollout = '[{"weight": 50.000, "variant": "a"}, {"weight": 5e1, "variant": "b"}]'$$),
	($$variants = '{"b": "B", "a": "A"}'$$),
	-- ending, in the same change as everything else
	($$experiment = '{"active": false}', rollout = NULL, bucketing = NULL, default_value = '"some"', rules = NULL$$),
	($$experiment = NULL, variants = '{"a": "A"}', rollout = NULL, rules = NULL$$),
	($$experiment = '{}', rollout = NULL$$);
SELECT is((refused(format('UPDATE ff.flags SET %s WHERE key = ''x''', sets))).message, 'not refused', 'free: ' || sets)
FROM free;
SELECT is((refused($$UPDATE ff.flags SET bucketing = '{"by": "user_id", "salt": "plain"}' WHERE key = 'plain'$$)).message,
	'not refused', 'to write down what holds by default is no change of bucketing');
SELECT is((refused($$UPDATE ff.flags SET rollout = '[]', rules = '[]', bucketing = '{}', variants = 'null' WHERE key = 'plain'$$)).message,
	'not refused', 'nor is to write nothing in another way');

---- every way to write ----
CREATE TEMP TABLE ways (sql text, code text);
INSERT INTO ways VALUES
	($$SELECT ff_update_flag('x', '{"rollout": [{"variant": "a", "weight": 1}]}')$$, '55000'),
	($$SELECT ff_update_flag('x', '{"bucketing": {"salt": null}}')$$, '55000'),
	($$SELECT ff_update_flag('x', '{"rollout": null, "experiment": {"traffic": 100}}')$$, '55000'),
	($$SELECT ff_update_flag('x', '{"rollout": null, "experiment": {"active": false}}')$$, '00F00'),
	($$SELECT ff_update_flag('x', '{"rollout": null, "experiment": null}')$$, '00F00'),
	($$SELECT ff_update_flag('x', '{"experiment": {"traffic": 100}}')$$, '00F00'),
	($$SELECT ff_replace_flag('x', ff_flag('x') - 'rules')$$, '55000'),
	($$SELECT ff_replace_flag('x', ff_flag('x') || '{"owner": "o"}')$$, '00F00'),
	($$SELECT ff_replace_flag('x', ff_flag('x') - 'experiment' - 'rules')$$, '00F00'),
	($$INSERT INTO ff.flags (key, type, default_value) VALUES ('x', 'string', '"some"')
		ON CONFLICT (key) DO UPDATE SET default_value = EXCLUDED.default_value$$, '55000'),
	($$INSERT INTO ff.flags (key, type, default_value) VALUES ('x', 'string', '"some"')
		ON CONFLICT (key) DO UPDATE SET default_value = EXCLUDED.default_value, experiment = NULL$$, '00F00'),
	($$INSERT INTO ff.flags (key, type, default_value) VALUES ('x', 'string', '"some"')
		ON CONFLICT (key) DO UPDATE SET owner = 'o'$$, '00F00'),
	($$INSERT INTO ff.flags (key, type, default_value) VALUES ('x', 'string', '"some"') ON CONFLICT (key) DO NOTHING$$, '00F00'),
	($$MERGE INTO ff.flags f USING (VALUES ('x')) v (key) ON f.key = v.key
		WHEN MATCHED THEN UPDATE SET rollout = NULL$$, '55000'),
	($$MERGE INTO ff.flags f USING (VALUES ('x')) v (key) ON f.key = v.key
		WHEN MATCHED THEN UPDATE SET rollout = NULL, experiment = '{"active": false}'$$, '00F00'),
	($$MERGE INTO ff.flags f USING (VALUES ('x')) v (key) ON f.key = v.key WHEN MATCHED THEN UPDATE SET enabled = false$$, '00F00'),
	($$UPDATE ff.flags SET default_value = default_value, rollout = NULL$$, '55000'),
	($$UPDATE ff.flags SET enabled = false$$, '00F00');
SELECT is((refused(sql)).code, code, regexp_replace(sql, '\s+', ' ', 'g')) FROM ways;

---- before, during, after ----
SELECT is((SELECT version FROM ff.flags WHERE key = 'x'), 1::bigint, 'nothing of all that is left');
UPDATE ff.flags SET experiment = '{"active": false}' WHERE key = 'x';
SELECT is((refused($$UPDATE ff.flags SET rollout = NULL WHERE key = 'x'$$)).message, 'not refused', 'what is ended is free');
SELECT is((refused($$UPDATE ff.flags SET rollout = NULL, experiment = '{"active": true}' WHERE key = 'x'$$)).message,
	'not refused', 'so is what starts in the same change');
UPDATE ff.flags SET rollout = '[{"variant": "a", "weight": 5}]', experiment = '{"active": true}' WHERE key = 'x';
SELECT is((refused($$UPDATE ff.flags SET rollout = NULL WHERE key = 'x'$$)).code, '55000', 'and is frozen from then on');
SELECT is((refused($$UPDATE ff.flags SET rollout = '{}' WHERE key = 'x'$$)).code, '22023', 'what is wrong is called wrong');
SELECT is((refused($$SELECT ff_archive_flag('x')$$)).message, 'not refused', 'archiving is free');

---- whoever means it ----
SELECT is(current_setting('ff.allow_experiment_change'), 'off', 'the setting is off');
SET LOCAL ff.allow_experiment_change = on;
SELECT is((refused(format('UPDATE ff.flags SET %s WHERE key = ''x''', sets))).message, 'not refused', 'allowed: ' || sets)
FROM frozen WHERE sets ~ '^(default_value|bucketing|rules = NULL)' OR sets = 'rollout = NULL';
SELECT is((refused($$SELECT ff_update_flag('x', '{"rollout": null}')$$)).message, 'not refused', 'by function, too');
SET LOCAL ff.allow_experiment_change = off;

---- rows from another database ----
SET session_replication_role = replica;
SELECT is((refused($$UPDATE ff.flags SET rollout = NULL, rules = NULL, bucketing = NULL WHERE key = 'x'$$)).message,
	'not refused', 'what is replicated was decided elsewhere');
RESET session_replication_role;
SELECT is((refused($$UPDATE ff.flags SET rollout = NULL WHERE key = 'x'$$)).code, '55000', 'what is written here is not');

SELECT * FROM finish();
ROLLBACK;
