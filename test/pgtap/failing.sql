-- Whatever fails, evaluation answers: the fallback, a code, and the query goes on.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(32);

INSERT INTO ff.segments (key, included) VALUES ('s', '["u"]');
INSERT INTO ff.flags (key, type, default_value, rules) VALUES
	('f', 'boolean', 'true', NULL),
	('ruled', 'boolean', 'true', '[{"if": {"segment": "s"}, "serve": "off"}]'),
	('slow', 'boolean', 'false', '[{"if": {"attr": "a", "op": "regex", "value": "^(a|aa)+$"}, "serve": "on"}]');
CREATE FUNCTION answer(key text, context jsonb DEFAULT '{}', namespace text DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(e.value, 'null'), e.reason, e.error_code) FROM ff_evaluate(key, context, NULL, namespace) e $$;
SELECT is(answer('f'), 'true DEFAULT', 'before');

---- limits ----
SELECT is(answer('slow', jsonb_build_object('a', repeat('a', 40) || '!')), 'false ERROR_FALLBACK LIMIT_EXCEEDED', 'a pattern that would run for years');
SELECT is(answer('slow', jsonb_build_object('a', repeat('a', 5000))), 'false ERROR_FALLBACK LIMIT_EXCEEDED', 'a text too long for patterns');
SELECT matches((SELECT error_message FROM ff_evaluate('slow', jsonb_build_object('a', repeat('a', 5000)))), 'flag "slow" hit a limit', 'the message names the flag');
SELECT is((SELECT count(*) FROM generate_series(1, 10) g WHERE ff_bool('slow', jsonb_build_object('a', repeat('a', g * 5) || '!'), true)),
	6::bigint, 'in a query over many contexts, those that fail have the fallback');

---- damage behind the triggers' back ----
SAVEPOINT sound;
ALTER TABLE ff.flags DISABLE TRIGGER USER;
UPDATE ff.flags SET rules = '[{"if": {"secret": "rule"}, "serve": "on"}]' WHERE key = 'f';
ALTER TABLE ff.flags ENABLE TRIGGER USER;
SELECT is(answer('f'), 'true ERROR_FALLBACK PARSE_ERROR', 'damaged rules: the default can still be read');
SELECT is((SELECT error_message FROM ff_evaluate('f')), 'flag "f" cannot be read', 'the message names the flag, not what is in it');
SELECT is((SELECT count(*) FROM ff_evaluate_all('{}') WHERE error_code IS NULL), 2::bigint, 'the others are not touched');
ALTER TABLE ff.flags DISABLE TRIGGER USER;
UPDATE ff.flags SET type = 'nonsense' WHERE key = 'f';
ALTER TABLE ff.flags ENABLE TRIGGER USER;
SELECT is(answer('f'), 'null ERROR_FALLBACK PARSE_ERROR', 'damaged type: no default');
SELECT matches((SELECT detail FROM ff_explain('f') WHERE stage = 'result'), 'its definition is wrong at type', 'an explanation names the place');
ROLLBACK TO sound;
SELECT is(answer('f'), 'true DEFAULT', 'mended by ROLLBACK TO');

ALTER TABLE ff.segments DISABLE TRIGGER USER;
DELETE FROM ff.segments;
ALTER TABLE ff.segments ENABLE TRIGGER USER;
SELECT is(answer('ruled', '{"user_id": "u"}'), 'true ERROR_FALLBACK FLAG_NOT_FOUND', 'a segment that is gone');
SELECT is((SELECT error_message FROM ff_evaluate('ruled')), 'flag "ruled" refers to what does not exist', 'is not named');
UPDATE ff.flags SET enabled = false WHERE key = 'f';
SELECT is(answer('f'), 'true KILL_SWITCH', 'the kill switch needs nothing of it');
ROLLBACK TO sound;

ALTER TABLE ff.flags DISABLE TRIGGER USER;
UPDATE ff.flags SET requires = '[{"flag": "ruled", "variant": "off"}]' WHERE key = 'f';
UPDATE ff.flags SET requires = '[{"flag": "f", "variant": "on"}]' WHERE key = 'ruled';
ALTER TABLE ff.flags ENABLE TRIGGER USER;
SELECT is(answer('f', '{"user_id": "u"}'), 'true ERROR_FALLBACK LIMIT_EXCEEDED', 'a cycle is no hang');
ROLLBACK TO sound;

---- tables altered, moved, gone ----
ALTER TABLE ff.flags RENAME TO our_flags;
ALTER TABLE ff.our_flags SET SCHEMA public;
SELECT is(answer('f'), 'true DEFAULT', 'a table renamed and moved is still the namespace''s');
UPDATE our_flags SET enabled = false WHERE key = 'f';
SELECT is(answer('f'), 'true KILL_SWITCH', 'and its changes are seen');
ROLLBACK TO sound;
ALTER TABLE ff.flags RENAME COLUMN rules TO regulations;
SELECT is(answer('f'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'a table without a column');
SELECT is((SELECT error_message FROM ff_evaluate('f')), 'namespace "default" has no rules', 'is said so');
SELECT is((SELECT count(*) FROM ff_evaluate_all('{}') WHERE flag_key IS NULL AND error_code = 'PROVIDER_NOT_READY'), 1::bigint, 'of all flags, too');
ROLLBACK TO sound;
DELETE FROM ff.namespaces;
SELECT is(answer('f'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'a namespace that is gone');
ROLLBACK TO sound;
SELECT is(answer('f', '{}', 'staging'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'one that never was');
SET LOCAL ff.namespace = 'staging';
SELECT is((SELECT error_message FROM ff_evaluate('f')), 'namespace "staging" does not exist', 'ff.namespace chooses');
SET LOCAL ff.namespace = 'default';
SELECT is(answer('f'), 'true DEFAULT', 'and chooses back');

---- permissions ----
CREATE ROLE ff_test_evaluator;
GRANT USAGE ON SCHEMA public TO ff_test_evaluator;
SET LOCAL ROLE ff_test_evaluator;
SELECT is(answer('ruled', '{"user_id": "u"}'), 'false RULE_MATCH', 'everybody may evaluate');
SELECT throws_ok($$SELECT ff_flag('ruled')$$, '42501', NULL, 'but not see a definition');
SELECT throws_ok($$SELECT * FROM ff_explain('ruled')$$, '42501', NULL, 'nor have it explained');
SELECT throws_ok($$SELECT rules FROM ff.flags$$, '42501', NULL, 'nor read the table');
RESET ROLE;
REVOKE SELECT (key) ON ff.flags FROM PUBLIC;
SET LOCAL ROLE ff_test_evaluator;
SELECT is(answer('ruled', '{"user_id": "u"}'), 'null ERROR_FALLBACK PERMISSION_DENIED', 'until that is revoked');
RESET ROLE;
SELECT is(answer('ruled', '{"user_id": "u"}'), 'false RULE_MATCH', 'the owner still may');
GRANT SELECT ON ff.flags TO ff_test_evaluator;
ALTER TABLE ff.flags ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE ff_test_evaluator;
SELECT is(answer('ruled', '{"user_id": "u"}'), 'false RULE_MATCH', 'row-level security does not change evaluation');
SELECT is(ff_flag('ruled'), NULL, 'but what is seen');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
