-- Whether users were shared out as configured, and what became of them. The tables that the flush keeps are filled by hand here.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SET LOCAL ff.exposure_mode = off;
SELECT plan(43);

---- the distribution ----
SELECT is(round(ff_chi_squared_p(x, df)::numeric, 5), p, format('chi-squared %s with %s degrees', x, df)) FROM (VALUES
	(3.841459, 1, 0.05), (10.828, 1, 0.001), (5.991465, 2, 0.05), (13.816, 2, 0.001), (7.814728, 3, 0.05), (9.487729, 4, 0.05),
	(18.307, 10, 0.05), (0, 1, 1), (0, 4, 1), (1e6, 3, 0), (124.342, 100, 0.05)) t (x, df, p);
SELECT throws_ok('SELECT ff_chi_squared_p(1, 0)', '22023');
SELECT throws_ok('SELECT ff_chi_squared_p(-1, 1)', '22023');

---- what is configured ----
INSERT INTO ff.flags (key, type, default_value, variants, rollout, rules, experiment) VALUES
	('rest', 'boolean', 'false', NULL, '[{"variant": "on", "weight": 30}]', NULL, '{"active": true}'),
	('three', 'string', '"none"', '{"a": "A", "b": "B", "c": "C"}', '[{"variant": "a", "weight": 20}, {"variant": "b", "weight": 20}, {"variant": "c", "weight": 40}]',
	 '[{"id": "de", "if": {"attr": "country", "op": "equals", "value": "DE"}, "serve": [{"variant": "a", "weight": 10}, {"variant": "b", "weight": 30}]},
	   {"id": "one", "if": {"attr": "x", "op": "exists"}, "serve": "a"}]', '{"active": false, "started_at": "2026-01-01T00:00:00Z"}'),
	('none', 'boolean', 'false', NULL, '[{"variant": "on", "weight": 30}]', NULL, NULL);
SELECT results_eq($$SELECT flag_key, rule_id, variant_key, weight::numeric, active, started_at FROM ff_allocations() ORDER BY flag_key, rule_id NULLS FIRST, variant_key$$,
	$$VALUES ('rest', NULL, 'off', 70::numeric, true, NULL::timestamptz), ('rest', NULL, 'on', 30, true, NULL),
		('three', NULL, 'a', 25, false, '2026-01-01 00:00+00'), ('three', NULL, 'b', 25, false, '2026-01-01 00:00+00'), ('three', NULL, 'c', 50, false, '2026-01-01 00:00+00'),
		('three', 'de', 'a', 25, false, '2026-01-01 00:00+00'), ('three', 'de', 'b', 75, false, '2026-01-01 00:00+00')$$, 'the shares of each allocation');

---- ten fair experiments stay silent: the real bucketing of 10,000 users each ----
INSERT INTO ff.flags (key, type, default_value, rollout, experiment)
	SELECT 'fair-' || n, 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}' FROM generate_series(1, 10) n;
INSERT INTO ff.assignments (namespace, flag_key, user_id, variant_key, assigned_at, reason)
	SELECT 'default', key, 'user-' || g, e.variant_key, now(), e.reason FROM ff.flags, generate_series(1, 10000) g,
		ff_evaluate(key, jsonb_build_object('user_id', 'user-' || g)) e WHERE key LIKE 'fair-%';
SELECT results_eq($$SELECT count(*), sum(users), bool_or(warning) FROM ff.sample_ratio WHERE flag_key LIKE 'fair-%'$$, 'VALUES (20::bigint, 100000::numeric, false)',
	'ten fair experiments of 10,000 users each raise no warning');
SELECT cmp_ok((SELECT min(p_value) FROM ff.sample_ratio WHERE flag_key LIKE 'fair-%'), '>', 0.001::double precision, '... and their p-values say so');

---- skewed ones ----
CREATE FUNCTION assign(flag text, variant text, first int, last int, at timestamptz DEFAULT now(), why text DEFAULT 'ROLLOUT', rule text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ff.assignments (namespace, flag_key, user_id, variant_key, assigned_at, reason, rule_id)
	SELECT 'default', flag, flag || '-' || g, variant, at, why, rule FROM generate_series(first, last) g $$;
INSERT INTO ff.flags (key, type, default_value, rollout, experiment)
	SELECT key, 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}' FROM unnest(ARRAY['skewed', 'ten', 'few', 'slight', 'empty']) key;
SELECT assign('skewed', 'on', 1, 700), assign('skewed', 'off', 701, 1000, why => 'DEFAULT') \g /dev/null
SELECT results_eq($$SELECT variant_key, users::int, actual_share::int, deviation::int, warning FROM ff.sample_ratio WHERE flag_key = 'skewed' ORDER BY 1$$,
	$$VALUES ('off' COLLATE "C", 300, 30, -20, true), ('on', 700, 70, 20, true)$$, 'a skewed assignment warns');
SELECT assign('ten', 'on', 1, 8), assign('ten', 'off', 9, 10) \g /dev/null
SELECT results_eq($$SELECT DISTINCT warning, round(p_value::numeric, 2) FROM ff.sample_ratio WHERE flag_key = 'ten'$$, 'VALUES (false, 0.06)', 'ten users raise no alarm, at 8 to 2');
SELECT assign('few', 'on', 1, 8) \g /dev/null
SELECT results_eq($$SELECT DISTINCT warning, p_value IS NULL FROM ff.sample_ratio WHERE flag_key = 'few'$$, 'VALUES (false, true)', 'nothing is said where fewer than five are expected');
SELECT assign('slight', 'on', 1, 54000), assign('slight', 'off', 54001, 100000) \g /dev/null
SELECT is((SELECT bool_and(warning) FROM ff.sample_ratio WHERE flag_key = 'slight'), true, '4 points of 100,000 users can''t be chance');
SELECT results_eq($$SELECT variant_key, users::int, total_users::int, actual_share IS NULL, warning FROM ff.sample_ratio WHERE flag_key = 'empty' ORDER BY 1$$,
	$$VALUES ('off' COLLATE "C", 0, 0, true, false), ('on', 0, 0, true, false)$$, 'nobody yet');
SELECT assign('rest', 'on', 1, 560), assign('rest', 'off', 561, 1000) \g /dev/null
SELECT assign('rest', 'on', 2001, 2500, why => 'USER_OVERRIDE') \g /dev/null
SELECT is((SELECT sum(users) FROM ff.sample_ratio WHERE flag_key = 'rest'), 1000::numeric, 'those in an override list don''t count: that was not chance');
SELECT assign('three', 'a', 1, 100, '2025-12-31', 'RULE_MATCH', 'de'), assign('three', 'a', 101, 200, now(), 'RULE_MATCH', 'de'), assign('three', 'b', 201, 500, now(), 'RULE_MATCH', 'de'),
	assign('three', 'c', 501, 600, now()), assign('three', 'a', 601, 900, now(), 'RULE_MATCH', 'one') \g /dev/null
SELECT results_eq($$SELECT rule_id, variant_key, users::int FROM ff.sample_ratio WHERE flag_key = 'three' ORDER BY 1 NULLS FIRST, 2$$,
	$$VALUES (NULL, 'a' COLLATE "C", 0), (NULL, 'b', 0), (NULL, 'c', 100), ('de', 'a', 100), ('de', 'b', 300)$$, 'each allocation by itself, and only the present run');
SET LOCAL ff.sample_ratio_tolerance = 100;
SELECT is((SELECT bool_and(warning) FROM ff.sample_ratio WHERE flag_key = 'skewed'), true, 'the tolerance doesn''t silence the test');
SET LOCAL ff.sample_ratio_tolerance = 0.1;
SELECT is((SELECT bool_or(warning) FROM ff.sample_ratio WHERE flag_key LIKE 'fair-%'), true, 'a small tolerance warns of less');
RESET ff.sample_ratio_tolerance;

---- the worker's warning, once a day ----
SELECT is((SELECT partitions_made FROM ff_maintain()), 9, 'partitions for yesterday, today and a week');
SELECT results_eq('SELECT flag_key FROM ff.sample_ratio_warnings ORDER BY 1', $$VALUES ('rest' COLLATE "C"), ('skewed'), ('slight')$$, 'experiments that turned bad, where they are active');
SELECT is((SELECT partitions_made FROM ff_maintain()), 0, 'nothing is done twice');
SELECT is((SELECT count(*) FROM ff.sample_ratio_warnings), 3::bigint, '... or said twice');

---- outcomes ----
CREATE TABLE orders (buyer text, amount numeric, ordered_at timestamptz, note text);
INSERT INTO orders SELECT 'skewed-' || g, 10, now() + interval '1 hour' FROM generate_series(1, 70) g;
INSERT INTO orders SELECT 'skewed-' || g, 20, now() + interval '1 hour' FROM generate_series(1, 10) g;
INSERT INTO orders SELECT 'skewed-' || g, 30, now() - interval '1 hour' FROM generate_series(701, 760) g;
INSERT INTO orders VALUES ('stranger', 1000, now()), (NULL, 1000, now()), ('skewed-999', NULL, now() + interval '1 hour');
SELECT results_eq($$SELECT variant_key, users::int, outcomes::int, converted::int, round(conversion::numeric, 2), total::int, sample_ratio_warning FROM ff_experiment('skewed', 'orders', 'buyer', 'amount')$$,
	$$VALUES ('off', 300, 60, 60, 0.20, 1800, true), ('on', 700, 80, 70, 0.10, 900, true)$$, 'several orders of a user are one conversion; the sample ratio is beside it');
SELECT results_eq($$SELECT variant_key, outcomes::int FROM ff_experiment('skewed', 'orders', 'buyer', 'amount', 'ordered_at')$$, $$VALUES ('off', 0), ('on', 80)$$, 'only what came after the assignment');
SELECT throws_ok($$SELECT * FROM ff_experiment('skewed', 'orders', 'nobody')$$, '42703');
SELECT throws_ok($$SELECT * FROM ff_experiment('skewed', 'orders', 'buyer', 'note')$$, '42804');
SELECT throws_ok($$SELECT * FROM ff_experiment('no-such-flag', 'orders', 'buyer')$$, '42704');
CREATE ROLE ff_test_analyst;
GRANT SELECT ON ff.flags, ff.assignments, ff.sample_ratio TO ff_test_analyst;
SET LOCAL ROLE ff_test_analyst;
SELECT throws_ok($$SELECT * FROM ff_experiment('skewed', 'orders', 'buyer')$$, '42501', NULL, 'the business table is read with the caller''s rights');
RESET ROLE;
GRANT SELECT ON orders TO ff_test_analyst;
SET LOCAL ROLE ff_test_analyst;
SELECT is((SELECT count(*) FROM ff_experiment('skewed', 'orders', 'buyer')), 2::bigint, 'who may read all of it may ask');
SELECT is((SELECT count(*) FROM ff.sample_ratio WHERE flag_key = 'skewed'), 2::bigint, 'the view, too');
SELECT throws_ok('SELECT * FROM ff.exposures', '42501');
RESET ROLE;

---- the document ----
INSERT INTO ff.exposure_rollups VALUES ('default', 'skewed', 'on', '2026-01-01 10:00+00', 7, 5, 3, '2026-01-01 10:01+00', '2026-01-01 10:59+00'),
	('default', 'skewed', 'on', '2026-01-01 11:00+00', 2, 2, 1, '2026-01-01 11:01+00', '2026-01-01 11:59+00');
SELECT is(ff_exposures('skewed') #> '{variants,0}' ->> 'evaluations', '9', 'ff_exposures: totals');
SELECT is(ff_exposures('skewed', '2026-01-01 10:30+00', '2026-01-01 11:00+00') #> '{variants,0}' ->> 'unique_users', '3', '... of some hours');
SELECT is(jsonb_array_length(ff_exposures('skewed') -> 'hourly'), 2, '... by the hour');
SELECT is(ff_exposures('skewed') #>> '{sample_ratio,0,warning}', 'true', '... with the sample ratio');
SELECT is(ff_exposures('no-such-flag'), NULL, 'null for a flag that is not there and was not');
SELECT * FROM finish();
ROLLBACK;
