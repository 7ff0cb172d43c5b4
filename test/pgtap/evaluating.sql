-- What evaluation answers, function by function.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(49);

INSERT INTO ff.segments (key, "if") VALUES ('staff', '{"attr": "email", "op": "ends_with", "value": "@example.com"}');
INSERT INTO ff.flags (key, type, default_value) VALUES ('base', 'boolean', 'true');
INSERT INTO ff.flags (key, type, default_value, variants, requires, overrides, rules, rollout) VALUES
	('color', 'string', '"grey"', '{"warm": "red", "cold": "blue"}', '[{"flag": "base", "variant": "on"}]',
	 '[{"variant": "warm", "users": ["u-1", "17"]}]',
	 '[{"id": "staff", "if": {"segment": "staff"}, "serve": "cold"},
	   {"if": {"attr": "vip", "op": "equals", "value": true}, "serve": "warm"}]',
	 '[{"variant": "cold", "weight": 50}]');
INSERT INTO ff.flags (key, type, default_value, variants) VALUES
	('limit', 'number', '2.50', '{"high": 1e3}'),
	('config', 'json', '{"b": [1, 2.0], "a": null}', '{"same": {"a": null, "b": [1.0, 2]}}'),
	('bare', 'json', '"text"', NULL);
INSERT INTO ff.flags (key, type, default_value, state) VALUES ('gone', 'boolean', 'true', 'archived');

CREATE FUNCTION answer(key text, context jsonb, fallback jsonb DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
	SELECT concat_ws(' ', e.value, coalesce(e.variant_key, '-'), e.reason, e.rule_id, e.error_code)
	FROM ff_evaluate(key, context, fallback) e $$;

---- reasons ----
SELECT is(answer('color', '{"user_id": "u-1"}'), '"red" warm USER_OVERRIDE', 'an override');
SELECT is(answer('color', '{"user_id": 17}'), '"red" warm USER_OVERRIDE', 'a user id that is a number');
SELECT is(answer('color', '{"targetingKey": "u-1"}'), '"red" warm USER_OVERRIDE', 'targetingKey is a user id');
SELECT is(answer('color', '{"user_id": "x", "targetingKey": "u-1", "email": "x@example.com"}'),
	'"blue" cold RULE_MATCH staff', 'user_id goes before targetingKey; a rule and its id');
SELECT is(answer('color', '{"vip": true}'), '"red" warm RULE_MATCH', 'a rule without an id');
SELECT is(answer('color', '{"vip": "true"}'), '"grey" - DEFAULT', 'there is no coercion');
SELECT results_eq($$SELECT DISTINCT answer('color', jsonb_build_object('user_id', 'r' || g)) COLLATE "default"
	FROM generate_series(1, 100) g ORDER BY 1$$,
	$$VALUES ('"blue" cold ROLLOUT'), ('"grey" - DEFAULT')$$, 'a rollout serves some');
UPDATE ff.flags SET enabled = false WHERE key = 'base';
SELECT is(answer('color', '{"user_id": "u-1"}'), '"red" warm USER_OVERRIDE', 'a prerequisite that is killed serves its default, here the wanted variant');
UPDATE ff.flags SET default_value = 'false' WHERE key = 'base';
SELECT is(answer('color', '{"user_id": "u-1"}'), '"grey" - PREREQUISITE_FAILED', 'a prerequisite that is not met, in the same transaction');
SELECT is(answer('base', NULL), 'false off KILL_SWITCH', 'the kill switch serves the default, which is a variant');
UPDATE ff.flags SET enabled = true, default_value = 'true' WHERE key = 'base';
SELECT is(answer('nothing', '{}'), '- ERROR_FALLBACK FLAG_NOT_FOUND', 'no such flag');
SELECT is(answer('nothing', '{}', '{"any": 1}'), '{"any": 1} - ERROR_FALLBACK FLAG_NOT_FOUND', 'with a fallback');
SELECT is(answer('gone', '{}'), 'true - ERROR_FALLBACK FLAG_ARCHIVED', 'an archived flag has its default');
SELECT is(answer('gone', '{}', 'false'), 'false - ERROR_FALLBACK FLAG_ARCHIVED', 'or the fallback');
SELECT is(answer(NULL, '{}'), '- ERROR_FALLBACK FLAG_NOT_FOUND', 'a null key');
SELECT is(answer('config', NULL), '{"a": null, "b": [1.0, 2]} same DEFAULT', 'a default that equals a variant, as JSON does');
SELECT is((ff_evaluate('color')).flag_version, 1::bigint, 'the version that answered');

---- typed functions ----
SELECT is(ff_bool('base'), true, 'ff_bool');
SELECT is(ff_string('color', '{"user_id": "u-1"}'), 'red', 'ff_string');
SELECT is(ff_number('limit'), 2.5::double precision, 'ff_number');
SELECT is(ff_json('bare'), '"text"', 'ff_json');
SELECT is(ff_bool('color', '{}', true), true, 'ff_bool of a string: the fallback');
SELECT is(ff_string('base', '{}', 'none'), 'none', 'ff_string of a boolean');
SELECT is(ff_number('config', '{}', 7), 7::double precision, 'ff_number of json');
SELECT is(ff_json('limit', '{}', '[]'), '[]', 'ff_json of a number');
SELECT is(ff_bool('color'), NULL, 'and null without a fallback');
SELECT is(ff_bool('gone', '{}', false), false, 'a fallback goes before the default of a flag that fails');
SELECT is(ff_bool('gone'), true, 'which is served without one');
SELECT is(ff_string('nothing', '{}', 'none'), 'none', 'no such flag');

---- contexts ----
SELECT results_eq($$SELECT answer('color', c) COLLATE "default" FROM unnest(ARRAY['[]', '1', 'null', '"x"']::jsonb[]) c$$,
	$$SELECT '"grey" - ERROR_FALLBACK INVALID_CONTEXT' FROM generate_series(1, 4)$$, 'a context is an object');
SELECT is(answer('base', '[]'), 'true - ERROR_FALLBACK INVALID_CONTEXT', 'for a flag that would not look at it, too');
CREATE TEMP TABLE wide AS
	SELECT jsonb_object_agg('k' || g, g) || '{"vip": true, "zz": "last"}' ||
		   jsonb_build_object('pad', repeat(md5(random()::text), 2000)) AS c FROM generate_series(1, 300) g;
SELECT is((SELECT answer('color', c) FROM wide), '"red" warm RULE_MATCH', 'a wide, compressed context');
SELECT is((SELECT answer('base', c) FROM wide), 'true on DEFAULT', 'for a flag that does not look at it');
SELECT is((SELECT answer('color', jsonb_object_agg('k' || g, g) || '{"vip": true}') FROM generate_series(1, n) g),
	'"red" warm RULE_MATCH', n || ' members beside') FROM unnest(ARRAY[1, 30, 38, 39, 40, 41, 100]) n;

---- numbers: as doubles, the nearest ----
INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('n', 'boolean', 'false',
	'[{"id": "eq", "if": {"attr": "a", "op": "equals", "value": 0.1}, "serve": "on"},
	  {"id": "big", "if": {"attr": "a", "op": "greater_than", "value": 1e300}, "serve": "on"},
	  {"id": "zero", "if": {"attr": "a", "op": "equals", "value": 0}, "serve": "on"},
	  {"id": "huge", "if": {"attr": "a", "op": "equals", "value": 9007199254740993}, "serve": "on"}]');
SELECT is(string_agg(coalesce((ff_evaluate('n', jsonb_build_object('a', a))).rule_id, '-'), ' ' ORDER BY o),
	'eq - big - zero - huge huge', 'equality, range and size of numbers')
FROM unnest(ARRAY[0.100, 0.1000000000000001, 1e301, ('1' || repeat('0', 400))::numeric, -0.0, 0.0001,
				  9007199254740992, 9007199254740993]) WITH ORDINALITY t (a, o);

-- reading a numeric is reading its text, for any number of digits
CREATE TEMP TABLE numbers AS
	SELECT (random() * 10 ^ (random() * 40 - 20)::int)::numeric AS x FROM generate_series(1, 2000)
	UNION ALL SELECT (random() * 1e9)::bigint FROM generate_series(1, 500)
	UNION ALL SELECT -round((random() * 1e7)::numeric, (random() * 6)::int) FROM generate_series(1, 500);
CREATE FUNCTION same_number(x numeric) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	UPDATE ff.flags SET default_value = to_jsonb(x) WHERE key = 'limit';
	RETURN ff_number('limit') = x::double precision;
END $$;
SELECT is((SELECT count(*) FROM numbers WHERE NOT same_number(x)), 0::bigint, 'three thousand numbers');

---- time ----
INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('t', 'boolean', 'false',
	'[{"if": {"all": [{"attr": "current_time", "op": "after", "value": "2026-01-01T00:00:00Z"},
					  {"attr": "current_time", "op": "before", "value": "2126-01-01T00:00:00+02:00"}]}, "serve": "on"}]');
SELECT is(ff_bool('t'), true, 'every context has the time');
SELECT is(ff_bool('t', '{"current_time": "2025-12-31T23:59:59Z"}'), false, 'unless it brings its own');

---- all flags ----
SELECT is((SELECT string_agg(flag_key, ' ') FROM ff_evaluate_all('{}')), 'bare base color config limit n t', 'active ones, by key');
SELECT is_empty($$SELECT * FROM generate_series(1, 50) g,
	LATERAL (SELECT jsonb_build_object('user_id', 'u-' || g, 'vip', g % 3 = 0)) AS c (c),
	LATERAL ff_evaluate_all(c.c) a, LATERAL ff_evaluate(a.flag_key, c.c) e
	WHERE (a.value, a.variant_key, a.reason, a.rule_id, a.flag_version)
		IS DISTINCT FROM (e.value, e.variant_key, e.reason, e.rule_id, e.flag_version)$$,
	'ff_evaluate_all answers what ff_evaluate does');

---- where evaluation can stand ----
SELECT is((SELECT count(*) FROM generate_series(1, 10) g WHERE ff_string('color', jsonb_build_object('vip', g > 5)) = 'red'), 5::bigint, 'in WHERE');
CREATE FUNCTION many_keys(OUT n int) LANGUAGE plpgsql AS $$
DECLARE k text;
BEGIN
	n := 0;
	FOREACH k IN ARRAY ARRAY['base', 'color', 'base', 'gone', 'base'] LOOP
		n := n + CASE WHEN ff_bool(k, '{}', false) THEN 1 ELSE 0 END;
	END LOOP;
END $$;
SELECT is(many_keys(), 3, 'one place with changing keys');
CREATE VIEW reds AS SELECT g FROM generate_series(1, 10) g WHERE ff_string('color', jsonb_build_object('vip', g > 5)) = 'red';
SELECT is((SELECT count(*) FROM reds), 5::bigint, 'in a view');

SELECT * FROM finish();
ROLLBACK;
