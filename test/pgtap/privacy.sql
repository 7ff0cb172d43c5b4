-- Who may only evaluate learns answers and nothing of what they are made of.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(26);

INSERT INTO ff.segments (key, included, "if") VALUES ('insiders', '["secret-user"]', '{"attr": "email", "op": "ends_with", "value": "@secret.example"}');
INSERT INTO ff.flags (key, type, default_value) VALUES ('secret-base', 'boolean', 'true');
INSERT INTO ff.flags (key, type, default_value, description, overrides, rules, requires) VALUES
	('f', 'boolean', 'false', 'secret text', '[{"variant": "on", "users": ["secret-user"]}]',
	 '[{"id": "in", "if": {"segment": "insiders"}, "serve": "on"},
	   {"id": "re", "if": {"attr": "a", "op": "regex", "value": "^(secret|s)+$"}, "serve": "on"}]', NULL),
	('damaged', 'boolean', 'false', NULL, NULL, NULL, NULL), ('noted', 'boolean', 'false', NULL, NULL, NULL, NULL),
	('varied', 'boolean', 'false', NULL, NULL, NULL, NULL), ('lost', 'boolean', 'false', NULL, NULL, NULL, NULL),
	('circular', 'boolean', 'false', NULL, NULL, NULL, NULL), ('led', 'boolean', 'false', NULL, NULL, NULL, NULL);
ALTER TABLE ff.flags DISABLE TRIGGER USER;
UPDATE ff.flags SET rules = '[{"if": {"attr": "secret", "op": "secret-op", "value": "secret-value"}, "serve": "secret"}]',
	overrides = '[{"variant": "secret", "users": ["secret-user"]}]' WHERE key = 'damaged';
UPDATE ff.flags SET rules = '[{"if": {"my secret note": 1}, "serve": "on"}]' WHERE key = 'noted';
UPDATE ff.flags SET variants = '{"secret": 5}' WHERE key = 'varied';
UPDATE ff.flags SET rules = '[{"if": {"segment": "secret-seg"}, "serve": "on"}]' WHERE key = 'lost';
UPDATE ff.flags SET requires = '[{"flag": "secret-base", "variant": "on"}]' WHERE key = 'circular';
UPDATE ff.flags SET requires = '[{"flag": "noted", "variant": "on"}]' WHERE key = 'led';
UPDATE ff.flags SET requires = '[{"flag": "circular", "variant": "on"}]' WHERE key = 'secret-base';
ALTER TABLE ff.flags ENABLE TRIGGER USER;

-- every path and detail of an explanation, or that there is none
CREATE FUNCTION explained(key text, context jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(concat_ws(' ', path, detail), E'\n') FROM ff_explain(key, context));
EXCEPTION WHEN insufficient_privilege THEN
	RETURN 'refused';
END $$;

CREATE ROLE ff_test_asker;
GRANT USAGE ON SCHEMA public TO ff_test_asker;
SET LOCAL ROLE ff_test_asker;

---- what is open ----
SELECT ok(ff_bool('f', '{"user_id": "secret-user"}'), 'evaluation');
SELECT ok(ff_bool('f', '{"email": "x@secret.example"}'), 'through a segment');
SELECT is((SELECT count(*) FROM ff_evaluate_all('{}')), 8::bigint, 'of all flags');
SELECT lives_ok('SELECT key FROM ff.flags', 'the keys');

---- what is not ----
SELECT throws_ok(sql, '42501', NULL, sql) FROM unnest(ARRAY[
	'SELECT * FROM ff.flags', 'SELECT rules FROM ff.flags', 'SELECT * FROM ff.segments', 'SELECT key FROM ff.segments',
	$$SELECT ff_flag('f')$$, $$SELECT ff_segment('insiders')$$, $$SELECT * FROM ff_explain('f')$$,
	$$UPDATE ff.flags SET enabled = false$$, $$INSERT INTO ff.flags (key, type, default_value) VALUES ('x', 'boolean', 'true')$$,
	'DELETE FROM ff.flags', 'TRUNCATE ff.flags', $$INSERT INTO ff.namespaces VALUES ('mine', 'pg_class', 'pg_type')$$]) sql;
SELECT is_empty($$SELECT e FROM unnest(ARRAY['{}', '[]', '{"user_id": "secret-user"}', '{"a": "s"}']::jsonb[] ||
		jsonb_build_object('a', repeat('secret', 20) || '!') || jsonb_build_object('a', repeat('s', 5000))) c,
	unnest(ARRAY['f', 'damaged', 'noted', 'varied', 'lost', 'circular', 'led']) k, ff_evaluate(k, c) e
	WHERE concat(e.error_message, e.variant_key) ~ 'secret'$$, 'no message has anything of a definition');
SELECT is_empty($$SELECT * FROM ff_evaluate_all('{}') WHERE flag_key <> 'secret-base' AND error_message ~ 'secret'$$, 'nor when all are asked');
SELECT is((SELECT string_agg(error_message, ', ' ORDER BY k) FROM unnest(ARRAY['circular', 'led', 'lost', 'noted', 'none']) k, ff_evaluate(k)),
	'flag "circular" hit a limit: references make a cycle, flag "led" refers to what cannot be read, flag "lost" refers to what does not exist, '
	'flag "none" does not exist, flag "noted" cannot be read', 'they say what is known anyway');

---- who may read ----
RESET ROLE;
GRANT SELECT ON ff.flags TO ff_test_asker;
SET LOCAL ROLE ff_test_asker;
SELECT is(ff_flag('f') ->> 'description', 'secret text', 'with SELECT on the flags: documents of flags');
SELECT throws_ok($$SELECT ff_segment('insiders')$$, '42501', NULL, 'not of segments');
SELECT throws_ok($$SELECT * FROM ff_explain('f')$$, '42501', NULL, 'nor explanations, which show both');
RESET ROLE;
GRANT SELECT ON ff.segments TO ff_test_asker;
SET LOCAL ROLE ff_test_asker;
SELECT ok(count(*) > 1, 'with SELECT on both: explanations') FROM ff_explain('f');

-- rows that a policy hides
RESET ROLE;
ALTER TABLE ff.flags ENABLE ROW LEVEL SECURITY;
ALTER TABLE ff.segments ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON ff.flags USING (key <> 'f');
SET LOCAL ROLE ff_test_asker;
SELECT is(ff_flag('f'), NULL, 'no document of a flag that a policy hides');
SELECT is(ff_segment('insiders'), NULL, 'nor of a segment');
SELECT unalike(explained('f', '{"email": "x", "a": "s"}'), '%secret%', 'an explanation shows nothing of what a policy hides');

SELECT * FROM finish();
ROLLBACK;
