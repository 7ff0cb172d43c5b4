-- What may be written to the tables, and what is refused with which SQLSTATE.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(67);

-- Runs a statement that must fail; returns SQLSTATE, and message, detail and hint in one line each.
CREATE FUNCTION refused(sql text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	SET CONSTRAINTS ALL IMMEDIATE;
	code := 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;

---- what the database keeps ----
INSERT INTO ff.flags (key, type, default_value, version, created_at)
	VALUES ('a', 'boolean', 'false', 99, '2001-01-01');
SELECT results_eq($$SELECT version, created_at = now(), updated_at = now(), enabled, state
	FROM ff.flags WHERE key = 'a'$$, $$VALUES (1::bigint, true, true, true, 'active')$$,
	'version and times are the database''s, whatever the writer says');
UPDATE ff.flags SET description = 'now described', version = 50 WHERE key = 'a';
SELECT is((SELECT version FROM ff.flags WHERE key = 'a'), 2::bigint, 'a change adds one');
UPDATE ff.flags SET description = 'now described', version = 50 WHERE key = 'a';
SELECT is((SELECT version FROM ff.flags WHERE key = 'a'), 2::bigint, 'an update that changes nothing does not');

---- definitions ----
-- Each row: column and value of an otherwise right flag; the path that is refused, and what is said.
CREATE TEMP TABLE wrong (col text, val text, path text, says text);
INSERT INTO wrong VALUES
	('key', 'no spaces', 'key', 'no spaces'),
	('key', '', 'key', 'string ""'),
	('key', '-begins-with-a-hyphen', 'key', 'letter or digit'),
	('type', 'bool', 'type', '"bool"'),
	('state', 'deleted', 'state', '"deleted"'),
	('default_value', '"yes"', 'default_value', 'expected a boolean'),
	('default_value', 'null', 'default_value', 'found null'),
	('variants', '{"on": true, "maybe": 1}', 'variants.maybe', 'number 1'),
	('variants', '{}', 'variants', 'empty object'),
	('variants', '[]', 'variants', 'empty array'),
	('overrides', '[{"variant": "on", "users": []}]', 'overrides[0].users', 'empty array'),
	('overrides', '[{"variant": "on", "users": ["u"], "note": 1}]', 'overrides[0].note', 'unknown member'),
	('overrides', '[{"variant": "on", "users": ["u"]}, {"variant": "off", "users": ["u"]}]',
		'overrides[1].users[0]', '"u"'),
	('rules', '[{"if": {"all": []}, "serve": "on"}]', 'rules[0].if.all', 'empty array'),
	('rules', '[{"if": {"any": []}, "serve": "on"}]', 'rules[0].if.any', 'empty array'),
	('rules', '[{"if": {}, "serve": "on"}]', 'rules[0].if', 'not a condition'),
	('rules', '[{"serve": "on"}]', 'rules[0].if', 'found nothing'),
	('rules', '[{"if": {"attr": "a", "op": "equal", "value": 1}, "serve": "on"}]', 'rules[0].if.op', '"equal"'),
	('rules', '[{"if": {"attr": "a", "op": "equals", "value": 1, "values": 2}, "serve": "on"}]',
		'rules[0].if.values', 'unknown member'),
	('rules', '[{"if": {"attr": "a", "op": "in_list", "value": []}, "serve": "on"}]', 'rules[0].if.value', 'empty array'),
	('rules', '[{"if": {"attr": "a", "op": "regex", "value": "("}, "serve": "on"}]', 'rules[0].if.value', 'regular expression'),
	('rules', '[{"if": {"attr": "a", "op": "after", "value": "2026-01-01"}, "serve": "on"}]', 'rules[0].if.value', 'RFC 3339'),
	('rules', '[{"if": {"attr": "a", "op": "semver_less", "value": "1.2"}, "serve": "on"}]', 'rules[0].if.value', '1.2.3'),
	('rules', '[{"if": {"attr": "a", "op": "in_cidr", "value": "10.0.0.1/8"}, "serve": "on"}]', 'rules[0].if.value', 'right of the prefix'),
	('rules', '[{"if": {"not": {"not": {"attr": "a..b", "op": "exists"}}}, "serve": "on"}]', 'rules[0].if.not.not.attr', 'a..b'),
	('rules', '[{"if": {"attr": "a", "op": "exists"}, "serve": "onn"}]', 'rules[0].serve', '"onn"'),
	('rules', '[{"if": {"attr": "a", "op": "exists"}, "serve": []}]', 'rules[0].serve', 'empty array'),
	('rollout', '[{"variant": "on", "weight": 12.3456}]', 'rollout[0].weight', 'three decimals'),
	('rollout', '[{"variant": "on", "weight": 101}]', 'rollout[0].weight', '0 to 100'),
	('rollout', '[{"variant": "on", "weight": -1}]', 'rollout[0].weight', '0 to 100'),
	('rollout', '[{"variant": "on", "weight": 60}, {"variant": "off", "weight": 40.001}]', 'rollout[1].weight', '100.001'),
	('requires', '[]', 'requires', 'empty array'),
	('bucketing', '{"by": "a.", "salt": "s"}', 'bucketing.by', '"a."'),
	('bucketing', '{"salt": ""}', 'bucketing.salt', 'at least one'),
	('experiment', '{"active": 1}', 'experiment.active', 'expected a boolean'),
	('tags', '["a", 5]', 'tags[1]', 'number 5'),
	('expires_at', 'infinity', 'expires_at', 'infinity');
SELECT ok(r.code = '22023' AND starts_with(r.detail, w.path || ': ') AND strpos(r.detail, w.says) > 0,
		  format('%s %s: %s', w.col, w.val, r.detail))
FROM wrong w, refused(CASE
	WHEN w.col IN ('key', 'type', 'default_value')
	THEN format('INSERT INTO ff.flags (key, type, default_value) VALUES (%L, %L, %L)',
				CASE w.col WHEN 'key' THEN w.val ELSE 'w' END, CASE w.col WHEN 'type' THEN w.val ELSE 'boolean' END,
				CASE w.col WHEN 'default_value' THEN w.val ELSE 'false' END)
	ELSE format('INSERT INTO ff.flags (key, type, default_value, %I) VALUES (%L, %L, %L, %L)',
				w.col, 'w', 'boolean', 'false', w.val) END) r;
SELECT is_empty($$SELECT 1 FROM ff.flags WHERE key = 'w'$$, 'what is refused changes nothing');
SELECT is((SELECT code FROM refused(format('INSERT INTO ff.flags (key, type, default_value, rules) VALUES (%L, %L, %L, %L)',
	'deep', 'boolean', 'false',
	(SELECT jsonb_build_array(jsonb_build_object('serve', 'on', 'if',
		(repeat('{"not": ', 17) || '{"attr": "a", "op": "exists"}' || repeat('}', 17))::jsonb)))))), '54000', 'too deep');
SELECT is((SELECT code FROM refused($$INSERT INTO ff.segments (key, excluded) VALUES ('s', '["u"]')$$)), '22023',
	'a segment that nobody can be in');
SELECT is((SELECT detail FROM refused($$INSERT INTO ff.segments (key, included, excluded) VALUES ('s', '["u", "v"]', '["v"]')$$)),
	'excluded[0]: user "v" is included too', 'a user can''t be included and excluded');

---- immutable, never deleted ----
SELECT is((SELECT code FROM refused($$UPDATE ff.flags SET key = 'b' WHERE key = 'a'$$)), '55000', 'a key stays');
SELECT is((SELECT code FROM refused($$UPDATE ff.flags SET type = 'json' WHERE key = 'a'$$)), '55000', 'a type stays');
SELECT matches((SELECT hint FROM refused('DELETE FROM ff.flags')), 'Archive it: UPDATE ff.flags SET state = ''archived''', 'DELETE is refused with a hint');
SELECT is((SELECT code FROM refused('TRUNCATE ff.flags')), '55000', 'TRUNCATE is refused');
SELECT is((SELECT code FROM refused('TRUNCATE ff.segments')), '55000', 'of segments, too');
SELECT is((SELECT code FROM refused($$INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'boolean', 'true')$$)), '23505', 'a key is unique');

---- references ----
SELECT is((SELECT code || ' ' || message FROM refused($$INSERT INTO ff.flags (key, type, default_value, requires)
	VALUES ('c', 'boolean', 'false', '[{"flag": "nowhere", "variant": "on"}]')$$)),
	'23503 flag "c" refers to flag "nowhere", which does not exist', 'a flag that is not there');
SELECT is((SELECT code || ' ' || message FROM refused($$INSERT INTO ff.flags (key, type, default_value, requires)
	VALUES ('c', 'boolean', 'false', '[{"flag": "a", "variant": "blue"}]')$$)),
	'23503 flag "c" refers to variant "blue" of flag "a", which does not exist', 'a variant that is not there');
SELECT is((SELECT code FROM refused($$INSERT INTO ff.flags (key, type, default_value, rules)
	VALUES ('c', 'boolean', 'false', '[{"if": {"segment": "nobody"}, "serve": "on"}]')$$)), '23503', 'a segment that is not there');
SELECT is((refused($$INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('c', 'boolean', 'false',
	'[{"if": {"all": [{"attr": "z", "op": "exists"}, {"segment": "nobody"}]}, "serve": "on"}]')$$)).detail, 'The reference is at rules[0].if.all[1].', 'is named with its place');
SELECT is((refused($$INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('c', 'boolean', 'false',
	'[{"flag": "nowhere", "variant": "on"}]')$$)).detail, 'The reference is at requires[0].', 'so is a prerequisite');
SELECT is((refused($$INSERT INTO ff.segments (key, "if") VALUES ('c', '{"not": {"flag": "nowhere", "variant": "on"}}')$$)).detail,
	'The reference is at if.not.', 'and a flag in a segment');
INSERT INTO ff.flags (key, type, default_value, requires) VALUES
	('x', 'boolean', 'false', '[{"flag": "y", "variant": "on"}]'),
	('y', 'boolean', 'true', NULL);
SELECT ok(ff_bool('y'), 'within a statement the order of rows does not matter');
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO ff.flags (key, type, default_value, rules)
	VALUES ('f', 'boolean', 'false', '[{"if": {"segment": "late"}, "serve": "on"}]');
INSERT INTO ff.segments (key, included) VALUES ('late', '["u"]');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT ok(ff_bool('f', '{"user_id": "u"}'), 'nor does that of statements, when checks are deferred');

SELECT is((SELECT code || ' ' || detail FROM refused($$UPDATE ff.flags SET requires = '[{"flag": "x", "variant": "on"}]' WHERE key = 'y'$$)),
	'42P19 y -> x -> y', 'a cycle of flags');
SELECT is((SELECT detail FROM refused($$UPDATE ff.flags SET requires = '[{"flag": "y", "variant": "on"}]' WHERE key = 'y'$$)),
	'y -> y', 'a flag that requires itself');
SELECT is((SELECT detail FROM refused($$UPDATE ff.segments SET "if" = '{"flag": "f", "variant": "on"}' WHERE key = 'late'$$)),
	'segment late -> f -> segment late', 'a cycle of a segment and a flag');
SELECT is((SELECT code || ' ' || detail FROM refused($$UPDATE ff.flags SET state = 'archived' WHERE key = 'y'$$)),
	'2BP01 Used by flag x.', 'what others use is not archived');
SELECT is((SELECT detail FROM refused($$UPDATE ff.segments SET state = 'archived' WHERE key = 'late'$$)),
	'Used by flag f.', 'segments neither');
SELECT is((SELECT code || ' ' || detail FROM refused($$UPDATE ff.flags SET variants = '{"yes": true}' WHERE key = 'y'$$)),
	'2BP01 Used by flag x (variant "on", at requires[0]).', 'nor is a variant removed');
UPDATE ff.flags SET state = 'archived' WHERE key = 'x';
UPDATE ff.flags SET state = 'archived' WHERE key = 'y';
SELECT is((SELECT code FROM refused($$UPDATE ff.flags SET state = 'active' WHERE key = 'x'$$)), '23503',
	'a flag is not restored before what it requires');

---- rows from another database ----
SET session_replication_role = replica;
INSERT INTO ff.flags (key, type, default_value, requires, version, created_at, updated_at)
	VALUES ('replicated', 'boolean', 'false', '[{"flag": "not-yet", "variant": "on"}]', 7, '2026-01-01Z', '2026-02-01Z');
SELECT is((SELECT version FROM ff.flags WHERE key = 'replicated'), 7::bigint, 'keep their versions and may come before what they need');
SELECT is((SELECT code FROM refused($$INSERT INTO ff.flags (key, type, default_value, version, created_at, updated_at)
	VALUES ('bad', 'boolean', '1', 1, now(), now())$$)), '22023', 'but have to be right');

SELECT * FROM finish();
ROLLBACK;
