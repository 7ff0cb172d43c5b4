-- What superusers can do behind the triggers' back, and to the tables and types of the extension
-- itself: nothing of it may end the server, and evaluation answers.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(25);

INSERT INTO ff.segments (key, included) VALUES ('s', '["u"]');
INSERT INTO ff.flags (key, type, default_value, rules) VALUES
	('ok', 'boolean', 'true', NULL),
	('ruled', 'boolean', 'true', '[{"if": {"segment": "s"}, "serve": "off"}]');
CREATE FUNCTION answer(key text, context jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(e.value, 'null'), e.reason, e.error_code) FROM ff_evaluate(key, context) e $$;
SELECT is(answer('ok'), 'true DEFAULT', 'before');
SAVEPOINT sound;

---- keys that no trigger has seen ----
ALTER TABLE ff.flags DISABLE TRIGGER ALL;
INSERT INTO ff.flags (key, type, default_value, version, created_at, updated_at)
	SELECT repeat('k', n), 'boolean', 'true', 7, now(), now() FROM unnest(ARRAY[255, 256, 300, 600, 900, 2000]) n;
INSERT INTO ff.flags (key, type, default_value, version, created_at, updated_at) VALUES ('', 'boolean', 'true', 7, now(), now());
SELECT is((SELECT string_agg(length(flag_key) || ' ' || concat_ws(' ', reason, error_code), ', ' ORDER BY length(flag_key))
	FROM ff_evaluate_all('{}') WHERE flag_key !~ '[^k]'),
	'0 ERROR_FALLBACK PARSE_ERROR, 255 DEFAULT, 256 ERROR_FALLBACK PARSE_ERROR, 300 ERROR_FALLBACK PARSE_ERROR, '
	'600 ERROR_FALLBACK PARSE_ERROR, 900 ERROR_FALLBACK PARSE_ERROR, 2000 ERROR_FALLBACK PARSE_ERROR',
	'keys that are too long are listed whole, with what is wrong');
SELECT is((SELECT concat_ws(' ', reason, value) FROM ff_evaluate_all('{}') WHERE flag_key = 'ok'), 'DEFAULT true', 'beside the others');
SELECT is((SELECT string_agg(DISTINCT flag_version::text, ' ') FROM ff_evaluate_all('{}') WHERE flag_key ~ '^k'), '7', 'with the version of the row');
SELECT is(answer(repeat('k', 900)), 'null ERROR_FALLBACK FLAG_NOT_FOUND', 'they can''t be asked for');
SELECT is(answer('ok'), 'true DEFAULT', 'the others can');
ROLLBACK TO sound;

-- a key that is null, in both tables, behind an index that allows it
ALTER TABLE ff.flags DISABLE TRIGGER ALL;
ALTER TABLE ff.segments DISABLE TRIGGER ALL;
ALTER TABLE ff.flags DROP CONSTRAINT flags_pkey, ALTER key DROP NOT NULL, ADD UNIQUE (key);
ALTER TABLE ff.segments DROP CONSTRAINT segments_pkey, ALTER key DROP NOT NULL, ADD UNIQUE (key);
INSERT INTO ff.flags (type, default_value, rules, version, created_at, updated_at)
	SELECT 'boolean', 'true', '[{"if": {"segment": "s"}, "serve": "off"}]', 7, now(), now() FROM generate_series(1, 2);
INSERT INTO ff.segments ("if", version, created_at, updated_at) VALUES ('{"segment": "s"}', 7, now(), now());
SELECT is((SELECT string_agg(coalesce(flag_key, 'null'), ' ') FROM ff_evaluate_all('{}')), 'ok ruled', 'a row without a key is no flag');
SELECT is(answer('ruled', '{"user_id": "u"}'), 'false RULE_MATCH', 'nor in the way of one');
ALTER TABLE ff.flags ENABLE TRIGGER ALL;
ALTER TABLE ff.segments ENABLE TRIGGER ALL;
SELECT throws_ok($$UPDATE ff.segments SET state = 'archived' WHERE key = 's'$$, '2BP01', NULL, 'nor in that of a check');
ROLLBACK TO sound;

---- the table of namespaces ----
ALTER TABLE ff.namespaces ALTER COLUMN name TYPE int USING 1;
SELECT is(answer('ok'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'names that are no text');
ROLLBACK TO sound;
ALTER TABLE ff.namespaces ALTER COLUMN flags TYPE text;
SELECT is(answer('ok'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'tables that are names');
SELECT is((SELECT count(*) FROM ff_evaluate_all('{}') WHERE error_code = 'PROVIDER_NOT_READY'), 1::bigint, 'for all flags, too');
ROLLBACK TO sound;
ALTER TABLE ff.namespaces DROP COLUMN name;
SELECT is(answer('ok'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'a column that is gone');
ALTER TABLE ff.namespaces ADD COLUMN name text DEFAULT 'default';
SELECT is(answer('ok'), 'true DEFAULT', 'and there again, at another place');
ROLLBACK TO sound;
ALTER EXTENSION ff DROP TABLE ff.namespaces;
DROP TABLE ff.namespaces;
CREATE TABLE ff.namespaces (a int, b int, c int);
INSERT INTO ff.namespaces VALUES (1, 2, 3);
SELECT is(answer('ok'), 'null ERROR_FALLBACK PROVIDER_NOT_READY', 'another table of that name');
ROLLBACK TO sound;

-- names of namespaces that begin alike: one that is not there hides none that is
UPDATE ff.namespaces SET name = repeat('n', 54);
SELECT is((SELECT string_agg((ff_evaluate('ok', '{}', NULL, repeat('n', n))).reason, ' ' ORDER BY o)
	FROM unnest(ARRAY[53, 55, 54, 70, 54, 53]) WITH ORDINALITY u (n, o)),
	'ERROR_FALLBACK ERROR_FALLBACK DEFAULT ERROR_FALLBACK DEFAULT ERROR_FALLBACK', 'names that begin alike');
ROLLBACK TO sound;

---- the type of results: here alone an error is all that can be said ----
ALTER TYPE ff_evaluation DROP ATTRIBUTE flag_version;
ALTER TYPE ff_evaluation ADD ATTRIBUTE fv text;
SELECT throws_ok($$SELECT * FROM ff_evaluate('ok')$$, '42804', NULL, 'an attribute replaced');
SELECT ok(ff_bool('ok'), 'functions of one type have nothing to do with it');
ROLLBACK TO sound;
ALTER TYPE ff_evaluation ADD ATTRIBUTE more text;
SELECT throws_ok($$SELECT ff_evaluate('ok')$$, '42804', NULL, 'an attribute more');
ROLLBACK TO sound;
ALTER TYPE ff_evaluation ALTER ATTRIBUTE flag_version TYPE text;
SELECT throws_ok($$SELECT ff_evaluate('ok')$$, '42804', NULL, 'an attribute of another type');
ROLLBACK TO sound;
ALTER TYPE ff_evaluation RENAME ATTRIBUTE reason TO why;
SELECT is((SELECT why FROM ff_evaluate('ok')), 'DEFAULT', 'a name changed is no harm');
ROLLBACK TO sound;
SELECT is(answer('ok'), 'true DEFAULT', 'after all that');

---- a table emptied in place, which the transaction that made it does: the new row is where the old one was ----
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'string', '"one"');
DROP EXTENSION ff;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
ALTER TABLE ff.flags DISABLE TRIGGER a00_ff_protect_truncate;
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'string', '"one"');
SELECT is(ff_string('a'), 'one', 'a row');
TRUNCATE ff.flags;
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'string', '"two"');
SELECT is(ff_string('a'), 'two', 'another in its place');
TRUNCATE ff.flags;
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'string', '"three"');
SELECT is((SELECT value #>> '{}' FROM ff_evaluate_all('{}')), 'three', 'and another');

SELECT * FROM finish();
ROLLBACK;
