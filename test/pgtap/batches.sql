-- Statements that change several flags, batches that are checked at their end, and who may write.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(39);

CREATE FUNCTION refused(sql text, OUT code text, OUT message text, OUT detail text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	code := 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END
$$;
CREATE FUNCTION needs(VARIADIC keys text[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('flag', k, 'variant', 'on')) FROM unnest(keys) k $$;
CREATE FUNCTION in_segment(key text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(jsonb_build_object('if', jsonb_build_object('segment', key), 'serve', 'on')) $$;

---- versions and times ----
SET LOCAL session_replication_role = replica;
INSERT INTO ff.flags (key, type, default_value, version, created_at, updated_at)
	VALUES ('old', 'boolean', 'true', 5, '2026-01-01Z', '2026-01-02Z');
INSERT INTO ff.segments (key, included, version, created_at, updated_at)
	VALUES ('old', '["u"]', 5, '2026-01-01Z', '2026-01-02Z');
SET LOCAL session_replication_role = origin;
UPDATE ff.flags SET enabled = enabled, rules = NULL, version = 1, created_at = now(), updated_at = now();
SELECT results_eq('SELECT version, created_at, updated_at FROM ff.flags',
	$$VALUES (5::bigint, timestamptz '2026-01-01Z', timestamptz '2026-01-02Z')$$, 'an update that changes nothing changes no time, either');
UPDATE ff.flags SET enabled = false, created_at = now();
SELECT results_eq('SELECT version, created_at, updated_at = now() FROM ff.flags',
	$$VALUES (6::bigint, timestamptz '2026-01-01Z', true)$$, 'one that does: version and updated_at');
UPDATE ff.segments SET included = included, version = 1, created_at = now(), updated_at = now();
SELECT results_eq('SELECT version, created_at, updated_at FROM ff.segments',
	$$VALUES (5::bigint, timestamptz '2026-01-01Z', timestamptz '2026-01-02Z')$$, 'of segments, nothing');
UPDATE ff.segments SET included = '["v"]', created_at = now();
SELECT results_eq('SELECT version, created_at, updated_at = now() FROM ff.segments',
	$$VALUES (6::bigint, timestamptz '2026-01-01Z', true)$$, 'and something');
SELECT is((SELECT code FROM refused($$UPDATE ff.segments SET key = 'new'$$)), '55000', 'the key of a segment stays');
SELECT is((SELECT code FROM refused('DELETE FROM ff.segments')), '55000', 'and so does the segment');
SELECT is((SELECT code FROM refused($$UPDATE ff.flags SET state = 'gone'$$)), '22023', 'a refused change');
SELECT is((SELECT version FROM ff.flags), 6::bigint, 'counts no version');

---- the ways to write ----
INSERT INTO ff.flags (key, type, default_value) VALUES ('old', 'boolean', 'true')
	ON CONFLICT (key) DO UPDATE SET enabled = true, version = excluded.version;
SELECT is((SELECT version FROM ff.flags WHERE key = 'old'), 7::bigint, 'INSERT … ON CONFLICT DO UPDATE');
INSERT INTO ff.flags (key, type, default_value) VALUES ('old', 'boolean', 'false') ON CONFLICT DO NOTHING;
SELECT results_eq($$SELECT version, ff_bool(key) FROM ff.flags WHERE key = 'old'$$, 'VALUES (7::bigint, true)', 'INSERT … ON CONFLICT DO NOTHING');
MERGE INTO ff.flags f USING (VALUES ('old'), ('merged')) v (k) ON f.key = v.k
	WHEN MATCHED THEN UPDATE SET description = 'merged'
	WHEN NOT MATCHED THEN INSERT (key, type, default_value) VALUES (v.k, 'boolean', 'true');
SELECT results_eq('SELECT key COLLATE "default", version FROM ff.flags ORDER BY 1', $$VALUES ('merged', 1::bigint), ('old', 8)$$, 'MERGE');
COPY ff.flags (key, type, default_value, rollout) FROM STDIN;
copied	boolean	false	[{"variant": "on", "weight": 100}]
\.
SELECT is((ff_evaluate('copied', '{"user_id": "u"}')).reason, 'ROLLOUT', 'COPY');
WITH s AS (INSERT INTO ff.segments (key, included) VALUES ('cte', '["u"]') RETURNING key)
	INSERT INTO ff.flags (key, type, default_value, rules) SELECT 'cte', 'boolean', 'false', in_segment(key) FROM s;
SELECT ok(ff_bool('cte', '{"user_id": "u"}'), 'a segment and the flag that uses it, in one statement');

-- what a trigger of the user's makes of a row is what is checked
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.rules := '[{"if": {}, "serve": "on"}]'; RETURN NEW; END $$;
CREATE TRIGGER spoil BEFORE INSERT ON ff.flags FOR EACH ROW EXECUTE FUNCTION spoil();
SELECT is((SELECT detail FROM refused($$INSERT INTO ff.flags (key, type, default_value) VALUES ('s', 'boolean', 'true')$$)),
	'rules[0].if: not a condition', 'checked is what is written');
DROP TRIGGER spoil ON ff.flags;

---- what may be empty or null ----
SELECT is((SELECT code FROM refused(format('INSERT INTO ff.flags (key, type, default_value, %I) VALUES (%L, %L, %L, %L)',
	c, 'empty-' || c, 'boolean', 'false', '[]'))), 'not refused', c || ' may be []')
FROM unnest(ARRAY['overrides', 'rules', 'rollout', 'tags']) c;
SELECT is((SELECT string_agg(DISTINCT (ff_evaluate(key, '{"user_id": "u"}')).reason, ' ') FROM ff.flags WHERE key ~ '^empty-'), 'DEFAULT', 'which matches nobody');
INSERT INTO ff.flags (key, type, default_value, variants, overrides, rules, rollout, requires, bucketing, experiment, tags)
	VALUES ('nulls', 'boolean', 'false', 'null', 'null', 'null', 'null', 'null', 'null', 'null', 'null');
SELECT is((ff_evaluate('nulls', '{"user_id": "u"}')).reason, 'DEFAULT', 'optional members may be JSON''s null');
INSERT INTO ff.segments (key, included, excluded, "if") VALUES ('open', '[]', '[]', '{"attr": "a", "op": "exists"}');
SELECT is((SELECT code FROM refused($$INSERT INTO ff.segments (key, included) VALUES ('closed', '[]')$$)), '22023', 'nobody is no segment');
SELECT is((SELECT code || ' ' || detail FROM refused($$INSERT INTO ff.flags (key, type, default_value) VALUES (NULL, 'boolean', 'true')$$)),
	'22023 key: expected a string, found nothing', 'a flag has a key');
SELECT is((SELECT code FROM refused($$INSERT INTO ff.flags (key, type, default_value) VALUES ('inf', 'number', '1e400')$$)), '22023', 'a number is a finite double');

---- several rows, several statements ----
INSERT INTO ff.flags (key, type, default_value, requires)
	SELECT 'n' || g, 'boolean', 'true', CASE WHEN g < 20 THEN needs('n' || g + 1) END FROM generate_series(1, 20) g;
SELECT ok(ff_bool('n1'), 'a chain, its users first');
SELECT is((SELECT code || ' ' || detail FROM refused($$UPDATE ff.flags SET requires = needs('n18') WHERE key = 'n20'$$)),
	'42P19 n20 -> n18 -> n19 -> n20', 'a cycle has its whole way named');
SELECT is((SELECT code FROM refused($$UPDATE ff.flags SET state = 'archived' WHERE key ~ '^n'$$)), 'not refused', 'a chain is archived in one statement');
UPDATE ff.flags SET state = 'active' WHERE key ~ '^n';
SELECT ok(ff_bool('n1'), 'and brought back');
INSERT INTO ff.segments (key, "if") VALUES ('s1', '{"attr": "a", "op": "exists"}'), ('s2', '{"not": {"segment": "s1"}}');
INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('mixed', 'boolean', 'false', in_segment('s2'));
SELECT is((SELECT code || ' ' || detail FROM refused($$UPDATE ff.segments SET "if" = '{"any": [{"segment": "s2"}]}' WHERE key = 's1'$$)),
	'42P19 segment s1 -> segment s2 -> segment s1', 'a cycle of segments');
SELECT is((SELECT code || ' ' || detail FROM refused($$UPDATE ff.segments SET "if" = '{"all": [{"flag": "mixed", "variant": "on"}]}' WHERE key = 's1'$$)),
	'42P19 segment s1 -> mixed -> segment s2 -> segment s1', 'a cycle through a flag and segments');
UPDATE ff.flags SET rules = in_segment('s2') WHERE key = 'merged';
SELECT matches((SELECT code || ' ' || detail FROM refused($$UPDATE ff.segments SET state = 'archived' WHERE key = 's2'$$)),
	'^2BP01 Used by (flag merged, flag mixed|flag mixed, flag merged)\.$', 'DETAIL has all who use it');
UPDATE ff.flags SET state = 'archived' WHERE key IN ('mixed', 'merged');
SELECT is((SELECT code FROM refused($$UPDATE ff.segments SET state = 'archived' WHERE key = 's2'$$)), 'not refused', 'archived flags use nothing');

SET CONSTRAINTS ALL DEFERRED;
UPDATE ff.flags SET requires = needs('d2') WHERE key = 'old';
INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('d2', 'boolean', 'true', needs('d3'));
SELECT is((SELECT code FROM refused('SET CONSTRAINTS ALL IMMEDIATE')), '23503', 'a batch that ends before it is complete');
INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('d3', 'boolean', 'true', needs('old'));
SELECT is((SELECT code FROM refused('SET CONSTRAINTS ALL IMMEDIATE')), '42P19', 'that makes a cycle');
SELECT is((SELECT error_code FROM ff_evaluate('old')), 'LIMIT_EXCEEDED', 'which is no hang meanwhile');
UPDATE ff.flags SET requires = NULL WHERE key = 'd3';
SELECT is((SELECT code FROM refused('SET CONSTRAINTS ALL IMMEDIATE')), 'not refused', 'and is right in the end');
SELECT ok(ff_bool('old'), 'and evaluated');

---- who may write ----
CREATE ROLE ff_test_editor;
GRANT USAGE ON SCHEMA public TO ff_test_editor;
GRANT SELECT, INSERT, UPDATE ON ff.flags TO ff_test_editor;
SET LOCAL ROLE ff_test_editor;
SELECT is((SELECT code || coalesce(': ' || message, '') FROM refused($$INSERT INTO ff.flags (key, type, default_value, rules)
	VALUES ('edited', 'boolean', 'false', '[{"if": {"segment": "old"}, "serve": "on"}]')$$)), 'not refused',
	'who may INSERT makes a flag, with a segment that he can''t read');
SELECT is((SELECT code || coalesce(': ' || message, '') FROM refused($$UPDATE ff.flags SET enabled = false WHERE key = 'copied'$$)), 'not refused',
	'who may UPDATE throws a kill switch');
SELECT is((SELECT code FROM refused($$UPDATE ff.segments SET description = 'mine'$$)), '42501', 'a flag''s editor changes no segment');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
