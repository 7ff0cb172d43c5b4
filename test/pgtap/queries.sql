-- Evaluation wherever SQL has an expression, by whoever asks, and in transactions that go back.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(37);

INSERT INTO ff.flags (key, type, default_value, rules) VALUES
	('beta', 'boolean', 'false', '[{"if": {"attr": "plan", "op": "equals", "value": "pro"}, "serve": "on"}]'),
	('who', 'boolean', 'false', '[{"if": {"attr": "user_id", "op": "in_list", "value": ["ff_test_anna"]}, "serve": "on"}]');
INSERT INTO ff.flags (key, type, default_value) VALUES ('rate', 'number', '10'), ('theme', 'string', '"light"'), ('limits', 'json', '{"a": 1}');
CREATE TABLE accounts AS SELECT g AS id, jsonb_build_object('plan', CASE WHEN g % 4 = 0 THEN 'pro' ELSE 'free' END) AS context
	FROM generate_series(1, 100) g;
GRANT SELECT ON accounts TO PUBLIC;
CREATE FUNCTION set_rate(value numeric) RETURNS void LANGUAGE sql AS $$ UPDATE ff.flags SET default_value = to_jsonb(value) WHERE key = 'rate' $$;

---- expressions ----
SELECT is((SELECT count(*) FROM accounts WHERE ff_bool('beta', context)), 25::bigint, 'WHERE');
SELECT is((SELECT count(*) FROM accounts a JOIN accounts b ON b.id = a.id + 1 AND ff_bool('beta', b.context)), 25::bigint, 'JOIN … ON');
SELECT results_eq($$SELECT ff_bool('beta', context), count(*), sum(ff_number('rate', context)) FROM accounts GROUP BY ROLLUP (1) ORDER BY 1$$,
	$$VALUES (false, 75::bigint, 750::float8), (true, 25, 250), (NULL, 100, 1000)$$, 'a report, in groups');
SELECT results_eq($$SELECT sum(ff_number('rate', context)) OVER (ORDER BY id) FROM accounts WHERE ff_bool('beta', context) LIMIT 2$$,
	'VALUES (10::float8), (20)', 'a window function');
SELECT is((SELECT count(*) FROM accounts WHERE CASE WHEN ff_bool('beta', context) THEN ff_number('rate') ELSE 0 END > 5), 25::bigint, 'CASE');
SELECT is((SELECT array_agg(DISTINCT (e).reason ORDER BY (e).reason) FROM (SELECT ff_evaluate('beta', context) AS e FROM accounts) s),
	'{DEFAULT,RULE_MATCH}', 'one column of the row that ff_evaluate returns');
SELECT is((SELECT count(*) FROM accounts, ff_evaluate_all(context) a WHERE a.flag_key = 'beta' AND a.value = 'true'), 25::bigint, 'LATERAL');
SELECT is((WITH RECURSIVE r (n, ok) AS (SELECT 0, true UNION ALL SELECT n + 1, ff_bool('beta', jsonb_build_object('plan', CASE WHEN n < 5 THEN 'pro' END)) FROM r WHERE ok)
	SELECT max(n) FROM r), 6, 'a recursive query');
SELECT is((SELECT count(*) FROM (SELECT ff_string('theme') FROM accounts UNION SELECT 'light') s), 1::bigint, 'UNION');
SELECT is((SELECT ff_bool(key => 'beta', namespace => 'default', context => '{"plan": "pro"}')), true, 'arguments by name');
CREATE TABLE defaulted (id int, theme text DEFAULT ff_string('theme'), CHECK (ff_number('rate') > 0));
INSERT INTO defaulted (id) VALUES (1);
SELECT is((SELECT theme FROM defaulted), 'light', 'a column''s default');
SELECT set_rate(-1) \g /dev/null
SELECT throws_ok('INSERT INTO defaulted (id) VALUES (2)', '23514', NULL, 'a CHECK constraint');
SELECT set_rate(10) \g /dev/null
SELECT throws_ok($$CREATE TABLE g (c jsonb, b boolean GENERATED ALWAYS AS (ff_bool('beta', c)) STORED)$$, '42P17', NULL, 'not where an answer would be kept for ever');
SELECT throws_ok($$CREATE INDEX ON accounts (ff_bool('beta', context))$$, '42P17', NULL, 'nor in an index');
SELECT is((SELECT count(*) FROM accounts WHERE ff_bool('vanished', context, id > 90)), 10::bigint, 'each row has its own fallback');

---- views, functions, prepared statements, cursors ----
CREATE VIEW pros AS SELECT id, ff_number('rate', context) AS rate FROM accounts WHERE ff_bool('beta', context);
CREATE MATERIALIZED VIEW pros_kept AS SELECT count(*) AS n FROM pros;
CREATE FUNCTION rate_of(c jsonb) RETURNS float8 LANGUAGE sql STABLE RETURN ff_number('rate', c);
CREATE FUNCTION rates(keys text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. array_length(keys, 1) LOOP
		RETURN NEXT keys[i] || ' ' || coalesce((ff_evaluate(keys[i], '{"plan": "pro"}')).value::text, (ff_evaluate(keys[i])).error_code);
	END LOOP;
END $$;
CREATE FUNCTION change_and_ask() RETURNS text LANGUAGE plpgsql AS $$
DECLARE seen text := '';
BEGIN
	FOR i IN 1 .. 4 LOOP
		PERFORM set_rate(i);
		seen := seen || ff_number('rate') || ' ';
		BEGIN
			PERFORM set_rate(100 + i);
			seen := seen || ff_number('rate') || ' ';
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			seen := seen || ff_number('rate') || ', ';
		END;
	END LOOP;
	RETURN seen;
END $$;
PREPARE rate AS SELECT ff_number('rate');
PREPARE flag (text, jsonb) AS SELECT (ff_evaluate($1, $2)).value::text;
SET LOCAL plan_cache_mode = force_generic_plan;
SELECT is((SELECT sum(rate) FROM pros), 250::float8, 'a view');
SELECT is((SELECT n FROM pros_kept), 25::bigint, 'a materialized view');
SELECT is((SELECT sum(rate_of(context)) FROM accounts), 1000::float8, 'a function of SQL');
SELECT results_eq($$SELECT * FROM rates('{beta,theme,beta,gone,rate,limits,gone,beta}')$$,
	$$VALUES ('beta true'), ('theme "light"'), ('beta true'), ('gone FLAG_NOT_FOUND'), ('rate 10'), ('limits {"a": 1}'), ('gone FLAG_NOT_FOUND'), ('beta true')$$,
	'one of PL/pgSQL, for one key after another');
SELECT is(change_and_ask(), '1 101 1, 2 102 2, 3 103 3, 4 104 4, ', 'one that changes what it asks for, and takes some of it back');
DO $$ BEGIN PERFORM set_rate(10); END $$;
SELECT is((SELECT count(*) FROM pros WHERE rate = 10), 25::bigint, 'the view again');
SELECT results_eq('EXECUTE rate', 'VALUES (10::float8)', 'a prepared statement');
SAVEPOINT s;
SELECT set_rate(20) \g /dev/null
SELECT results_eq('EXECUTE rate', 'VALUES (20::float8)', 'after a change');
ROLLBACK TO s;
SELECT results_eq('EXECUTE rate', 'VALUES (10::float8)', 'after it is rolled back');
SELECT results_eq($$EXECUTE flag('beta', '{"plan": "pro"}')$$, $$VALUES ('true')$$, 'one with parameters');
SELECT results_eq($$EXECUTE flag('theme', '{}')$$, $$VALUES ('"light"')$$, 'and with others');
DECLARE all_rates CURSOR FOR SELECT ff_number('rate', context) FROM accounts;
FETCH 1 FROM all_rates \g /dev/null
SELECT set_rate(30) \g /dev/null
SELECT results_eq('FETCH 2 FROM all_rates', 'VALUES (10::float8), (10)', 'a cursor goes on as it began');
SELECT is(ff_number('rate'), 30::float8, 'while the next statement sees the change');
WITH u AS (UPDATE ff.flags SET default_value = '40' WHERE key = 'rate' RETURNING ff_number('rate') AS r)
	SELECT is(r, 30::float8, 'the changing statement itself does not') FROM u;
CLOSE all_rates;

---- namespaces and roles ----
CREATE TABLE staging_flags (LIKE ff.flags INCLUDING ALL);
CREATE TABLE staging_segments (LIKE ff.segments INCLUDING ALL);
INSERT INTO staging_flags (key, type, default_value, version, created_at, updated_at) VALUES ('rate', 'number', '7', 1, now(), now());
INSERT INTO ff.namespaces VALUES ('staging', 'staging_flags', 'staging_segments');
CREATE FUNCTION staged() RETURNS float8 LANGUAGE sql STABLE SET ff.namespace = 'staging' AS $$ SELECT ff_number('rate') $$;
SELECT results_eq($$SELECT ff_number('rate', NULL, NULL, n) FROM unnest(ARRAY['default', 'staging', 'default', NULL, 'none']) n$$,
	'VALUES (40::float8), (7), (40), (40), (NULL)', 'a namespace by name, row by row');
SELECT results_eq($$SELECT ff_number('rate'), staged(), ff_number('rate')$$, 'VALUES (40::float8, 7::float8, 40::float8)', 'a function''s own setting of ff.namespace');
SET LOCAL ff.namespace = 'staging';
SELECT results_eq('EXECUTE rate', 'VALUES (7::float8)', 'the prepared statement, in the namespace that is set');
SET LOCAL ff.namespace = 'default';

CREATE ROLE ff_test_anna;
CREATE ROLE ff_test_ben;
GRANT USAGE ON SCHEMA public TO ff_test_anna, ff_test_ben;
CREATE TABLE reports AS SELECT g AS id FROM generate_series(1, 10) g;
GRANT SELECT ON reports TO PUBLIC;
ALTER TABLE reports ENABLE ROW LEVEL SECURITY;
CREATE POLICY beta ON reports USING (ff_bool('who', jsonb_build_object('user_id', current_user), false));
PREPARE reports AS SELECT count(*) FROM reports;
SET LOCAL ROLE ff_test_anna;
SELECT results_eq('EXECUTE reports', 'VALUES (10::bigint)', 'a policy lets one role see');
SET LOCAL ROLE ff_test_ben;
SELECT results_eq('EXECUTE reports', 'VALUES (0::bigint)', 'and another not');
RESET ROLE;
SELECT lives_ok($$UPDATE ff.flags SET enabled = false WHERE key = 'who'$$, 'the switch is thrown');
SET LOCAL ROLE ff_test_anna;
SELECT results_eq('EXECUTE reports', 'VALUES (0::bigint)', 'for her, too');
SET LOCAL ff.namespace = 'staging';
SELECT is((ff_evaluate('rate')).error_code, 'PERMISSION_DENIED', 'a namespace that nobody was granted');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
