-- ff_evaluate, ff_evaluate_all, the typed functions and ff_explain are four ways to one answer: flags
-- with every operator and every step, over contexts that meet them, nearly meet them and miss them.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(8);

CREATE TEMP TABLE conditions (id text, c jsonb);
INSERT INTO conditions VALUES
	('eq', '{"attr": "s", "op": "equals", "value": "Straße"}'), ('eqi', '{"attr": "s", "op": "equals", "value": "STRASSE", "ignore_case": true}'),
	('ne', '{"attr": "n", "op": "not_equals", "value": 5}'), ('in', '{"attr": "s", "op": "in_list", "value": ["a", 5, true]}'),
	('nin', '{"attr": "l", "op": "not_in_list", "value": ["a", 5]}'), ('con', '{"attr": "s", "op": "contains", "value": ["x", "tra"]}'),
	('conl', '{"attr": "l", "op": "contains", "value": 5}'), ('ncon', '{"attr": "l", "op": "not_contains", "value": ["a"]}'),
	('sw', '{"attr": "s", "op": "starts_with", "value": "str", "ignore_case": true}'), ('ew', '{"attr": "s", "op": "ends_with", "value": "e"}'),
	('re', '{"attr": "s", "op": "regex", "value": "^(a|aa)+$"}'), ('ex', '{"attr": "o.p", "op": "exists"}'), ('nex', '{"attr": "o.p", "op": "not_exists"}'),
	('gt', '{"attr": "n", "op": "greater_than", "value": 4.5}'), ('le', '{"attr": "n", "op": "less_or_equal", "value": 5}'),
	('bf', '{"attr": "t", "op": "before", "value": "2026-06-01T00:00:00+02:00"}'), ('now', '{"attr": "current_time", "op": "after", "value": "2026-01-01T00:00:00Z"}'),
	('sv', '{"attr": "v", "op": "semver_greater", "value": "1.2.3-rc.1"}'), ('ip', '{"attr": "i", "op": "in_cidr", "value": ["10.0.0.0/8", "2001:db8::/32"]}'),
	('pct', '{"percentage": 50, "salt": "w"}'), ('pcto', '{"percentage": 50, "salt": "w", "by": "n"}'),
	('seg', '{"segment": "people"}'), ('flag', '{"flag": "base", "variant": "on"}'),
	('all', '{"all": [{"attr": "s", "op": "exists"}, {"any": [{"attr": "n", "op": "exists"}, {"not": {"segment": "people"}}]}]}');
INSERT INTO ff.segments (key, included, excluded, "if") VALUES ('people', '["u1", "u2"]', '["u3"]', '{"attr": "s", "op": "exists"}');
INSERT INTO ff.flags (key, type, default_value, rollout, enabled) VALUES
	('base', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', true), ('off', 'boolean', 'false', NULL, false);
-- each condition by itself, denied, as a prerequisite's, and with every other step around it
INSERT INTO ff.flags (key, type, default_value, rules) SELECT 'is.' || id, 'boolean', 'false',
	jsonb_build_array(jsonb_build_object('id', id, 'if', c, 'serve', 'on')) FROM conditions;
INSERT INTO ff.flags (key, type, default_value, rules) SELECT 'not.' || id, 'boolean', 'false',
	jsonb_build_array(jsonb_build_object('if', jsonb_build_object('not', c), 'serve', 'on')) FROM conditions;
INSERT INTO ff.flags (key, type, default_value, requires) SELECT 'req.' || id, 'boolean', 'true',
	jsonb_build_array(jsonb_build_object('flag', 'is.' || id, 'variant', 'on')) FROM conditions;
INSERT INTO ff.flags (key, type, default_value, variants, overrides, rules, rollout, experiment, bucketing) SELECT 'full.' || id, 'string', '"none"',
	'{"a": "A", "b": "B", "none": "none"}', '[{"variant": "b", "users": ["u2"]}]',
	jsonb_build_array(jsonb_build_object('id', id, 'if', c, 'serve', '[{"variant": "a", "weight": 40}, {"variant": "b", "weight": 20.5}]'::jsonb)),
	'[{"variant": "a", "weight": 30}]', '{"active": true, "traffic": 70}', jsonb_build_object('salt', id) FROM conditions;
INSERT INTO ff.flags (key, type, default_value, requires, state) VALUES
	('req.off', 'number', '7', '[{"flag": "off", "variant": "on"}]', 'active'), ('gone', 'json', '{"a": [1.50]}', NULL, 'archived');

CREATE TEMP TABLE contexts AS
	SELECT jsonb_strip_nulls(jsonb_build_object('user_id', 'u' || g)) || c AS c FROM generate_series(1, 6) g, (VALUES
		('{}'::jsonb), ('{"s": "Straße", "n": 5, "l": ["a", 5], "o": {"p": null}}'), ('{"s": "strasse", "n": 4.5, "l": [], "o": {"p": 0}}'),
		('{"s": "aaa", "n": -0.0, "l": [1, "b"], "t": "2026-05-31T21:59:59.999999Z"}'), ('{"s": ["a", "x"], "n": [1, 5, "5"], "t": "2026-06-01"}'),
		('{"s": "", "v": "1.2.3", "i": "10.255.0.1"}'), ('{"s": 5, "v": "1.2.3-rc.1+x", "i": "::ffff:10.0.0.1"}'), ('{"s": true, "v": "1.2", "i": "2001:db8::1"}'),
		('{"n": "5", "v": "v2.0.0", "i": "11.0.0.1", "current_time": "2025-01-01T00:00:00Z"}'), ('{"s": null, "n": null, "l": null, "o": {"q": 1}}')) v (c)
	UNION ALL SELECT jsonb_build_object('user_id', 'u5', 'n', g) FROM generate_series(1, 8) g
	UNION ALL SELECT c FROM (VALUES (NULL::jsonb), ('{}'), ('[]'), ('{"user_id": ""}'), ('{"targetingKey": "u2"}'), ('{"user_id": 2}')) v (c)
	UNION ALL SELECT jsonb_build_object('user_id', 'u1', 's', repeat('a', 60) || '!') UNION ALL SELECT jsonb_build_object('user_id', 'u1', 's', repeat('a', 5000));
CREATE TEMP TABLE answers AS
	SELECT f.key, f.type, f.state, x.n, x.c, e.* FROM ff.flags f, (SELECT row_number() OVER () AS n, c FROM contexts) x, ff_evaluate(f.key, x.c) e;

SELECT cmp_ok(count(*), '>', 6000::bigint, 'a matrix of flags and contexts') FROM answers;
SELECT is((SELECT string_agg(DISTINCT reason, ' ' ORDER BY reason) FROM answers),
	'DEFAULT ERROR_FALLBACK KILL_SWITCH PREREQUISITE_FAILED ROLLOUT RULE_MATCH USER_OVERRIDE', 'with every reason');
SELECT is_empty($$SELECT id FROM conditions WHERE (SELECT count(DISTINCT value) FROM answers WHERE key = 'is.' || id AND error_code IS NULL) < 2$$,
	'where every condition holds for some and not for others');
SELECT is_empty($$SELECT a.key, a.c FROM answers a JOIN answers b ON b.n = a.n AND a.key = 'is.' || split_part(b.key, '.', 2) AND b.key ~ '^not'
	WHERE a.error_code IS NULL AND a.value = b.value$$, '"not" is the contrary');
SELECT is_empty($$SELECT a.key, a.c, x.d FROM answers a, LATERAL (SELECT detail::jsonb AS d FROM ff_explain(a.key, a.c) WHERE stage = 'result') x
	WHERE (coalesce(a.value, 'null'), a.variant_key, a.reason, a.rule_id, a.error_code) IS DISTINCT FROM
		(x.d -> 'value', x.d ->> 'variant_key', x.d ->> 'reason', x.d ->> 'rule_id', x.d ->> 'error_code')
	OR (a.error_message IS NULL) <> (x.d -> 'error_message' IS NULL)$$, 'ff_explain agrees; its message names what ff_evaluate''s keeps to itself');
SELECT is_empty($$SELECT x.c, a, b FROM (SELECT DISTINCT n, c FROM answers) x
	CROSS JOIN LATERAL (SELECT array_agg(r ORDER BY flag_key) FROM ff_evaluate_all(x.c) r) a (a),
	LATERAL (SELECT array_agg(ROW(key::text, value, variant_key, reason, rule_id, error_code, error_message, flag_version) ORDER BY key)
		FROM answers WHERE n = x.n AND state = 'active') b (b)
	WHERE a::text IS DISTINCT FROM b::text$$, 'ff_evaluate_all agrees');
SELECT is_empty($$SELECT key, c FROM answers WHERE error_code IS NULL AND NOT CASE type
	WHEN 'boolean' THEN to_jsonb(ff_bool(key, c)) WHEN 'string' THEN to_jsonb(ff_string(key, c))
	WHEN 'number' THEN to_jsonb(ff_number(key, c)) ELSE ff_json(key, c) END = value$$, 'the typed functions agree');
SELECT is_empty($$SELECT key, c FROM answers WHERE error_code IS NOT NULL AND NOT CASE type
	WHEN 'boolean' THEN ff_bool(key, c, true) AND NOT ff_bool(key, c, false) WHEN 'string' THEN ff_string(key, c, 'other') = 'other'
	WHEN 'number' THEN ff_number(key, c, 99) = 99 ELSE ff_json(key, c, '"other"') = '"other"' END$$, 'and answer the fallback where it failed');

SELECT * FROM finish();
ROLLBACK;
