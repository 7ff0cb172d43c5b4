-- ff_flag and ff_segment: documents that say all of a definition, and make it anew.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SELECT plan(15);

INSERT INTO ff.segments (key, description, included, excluded, "if") VALUES
	('staff', 'Ours', '["a", "b"]', '["c"]', '{"any": [{"attr": "email", "op": "ends_with", "value": "@example.com"}, {"percentage": 1.5, "salt": "s"}]}');
INSERT INTO ff.flags (key, type, default_value) VALUES ('base', 'boolean', 'true');
INSERT INTO ff.flags (key, type, description, default_value, variants, overrides, rules, rollout, requires, bucketing, experiment, tags, owner, expires_at)
	VALUES ('full', 'json', 'Überall ☃', '{"z": 1, "a": [1.0, null]}', '{"x": {"n": 1e3}, "y": "text"}', '[{"variant": "x", "users": ["ü", "u"]}]',
	'[{"id": "r", "if": {"segment": "staff"}, "serve": [{"variant": "x", "weight": 0.001}, {"variant": "y", "weight": 99.999}]}]',
	'[{"variant": "y", "weight": 33.333}]', '[{"flag": "base", "variant": "on"}]', '{"by": "org.id", "salt": "s"}',
	'{"active": true, "traffic": 12.5}', '["t", "ü"]', 'team', '2027-01-02 03:04:05.678901+02');
INSERT INTO ff.flags (key, type, default_value, state) VALUES ('bare', 'string', '""', 'archived');

SELECT is(ff_flag(key), jsonb_strip_nulls(to_jsonb(f)) || jsonb_build_object(
		'default_value', default_value, 'version', version, 'created_at', ff_flag(key) -> 'created_at', 'updated_at', ff_flag(key) -> 'updated_at') ||
		CASE WHEN expires_at IS NULL THEN '{}' ELSE '{"expires_at": "2027-01-02T01:04:05.678901Z"}'::jsonb END,
	'all columns of ' || key || ' that are not null') FROM ff.flags f ORDER BY key;
SELECT is(ff_segment('staff') - '{created_at,updated_at}'::text[], (SELECT jsonb_strip_nulls(to_jsonb(s)) - '{created_at,updated_at}'::text[] FROM ff.segments s), 'and of a segment');
SELECT results_eq($$SELECT (ff_flag('full') ->> 'created_at')::timestamptz, (ff_flag('full') ->> 'updated_at')::timestamptz$$,
	$$SELECT created_at, updated_at FROM ff.flags WHERE key = 'full'$$, 'times are the same to the microsecond');
SET LOCAL timezone = 'Asia/Kathmandu';
SET LOCAL datestyle = 'German';
SELECT is(ff_flag('full') ->> 'expires_at', '2027-01-02T01:04:05.678901Z', 'whatever the session''s time zone and style');

-- documents make the same flags again, in another namespace
CREATE TABLE copied_flags (LIKE ff.flags INCLUDING ALL);
CREATE TABLE copied_segments (LIKE ff.segments INCLUDING ALL);
INSERT INTO copied_flags SELECT * FROM jsonb_populate_recordset(NULL::ff.flags, (SELECT jsonb_agg(ff_flag(key)) FROM ff.flags));
INSERT INTO copied_segments SELECT * FROM jsonb_populate_recordset(NULL::ff.segments, (SELECT jsonb_agg(ff_segment(key)) FROM ff.segments));
INSERT INTO ff.namespaces VALUES ('copy', 'copied_flags', 'copied_segments');
SELECT is_empty('SELECT * FROM copied_flags EXCEPT SELECT * FROM ff.flags', 'flags go round');
SELECT is_empty('SELECT * FROM copied_segments EXCEPT SELECT * FROM ff.segments', 'segments, too');
SELECT is((SELECT count(*) FROM ff.flags WHERE ff_flag(key) = ff_flag(key, 'copy')), 3::bigint, 'documents of both are the same');
SELECT is_empty($$SELECT * FROM generate_series(1, 200) g, LATERAL jsonb_build_object('user_id', 'u' || g, 'org', jsonb_build_object('id', 'o' || g)) c,
	ff_evaluate('full', c) a, ff_evaluate('full', c, NULL, 'copy') b WHERE a <> b$$, 'and so are their answers');

SELECT throws_ok($$SELECT ff_flag('base', 'nowhere')$$, '42704', NULL, 'a namespace that is not there is an error');
SELECT throws_ok($$SELECT ff_explain('base', '{}', 'nowhere')$$, '42704', NULL, 'for explanations, too');

CREATE TABLE child () INHERITS (ff.flags);
INSERT INTO child (key, type, default_value, version, created_at, updated_at) VALUES ('of-a-child', 'boolean', 'true', 1, now(), now());
SELECT is(ff_flag('of-a-child'), NULL, 'a child of the table has no flags, as for evaluation');
DROP TABLE child;

-- A column that was dropped and made again comes after those that were there: a migration that
-- changes a column may do that. Times are taken, because of one another they can be mistaken
-- without reading what is no value of the type at all.
ALTER TABLE ff.flags DROP COLUMN created_at;
ALTER TABLE ff.flags ADD COLUMN created_at timestamptz NOT NULL DEFAULT '2001-01-01Z';
SELECT is((ff_evaluate('base')).value, 'true', 'a table whose columns changed places is evaluated');
SELECT is(ff_flag('base') ->> 'created_at', '2001-01-01T00:00:00Z', 'and its documents have each column in its place');

SELECT * FROM finish();
ROLLBACK;
