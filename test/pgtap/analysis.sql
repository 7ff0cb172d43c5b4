-- Whether users were shared out as configured, and what became of them. The tables that the flush keeps are filled by hand here.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- or events would be pending where tables are altered
SET LOCAL ff.exposure_mode = off;
SELECT plan(62);

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
	$$VALUES ('off', 300, 61, 61, 0.20, 1800, true), ('on', 700, 80, 70, 0.10, 900, true)$$, 'several orders of a user are one conversion; the sample ratio is beside it');
SELECT results_eq($$SELECT variant_key, outcomes::int FROM ff_experiment('skewed', 'orders', 'buyer', 'amount', 'ordered_at')$$, $$VALUES ('off', 1), ('on', 80)$$, 'only what came after the assignment');
SELECT results_eq($$SELECT variant_key, mean, mean_per_user FROM ff_experiment('skewed', 'orders', 'buyer', 'amount')$$,
	$$VALUES ('off', 30::double precision, 6::double precision), ('on', 11.25, 900.0 / 700)$$, 'a row without a value is an outcome, but not in the mean');
SELECT results_eq($$SELECT variant_key, outcomes, converted, conversion FROM ff_experiment('skewed', 'orders', 'buyer', 'amount')$$,
	$$SELECT variant_key, outcomes, converted, conversion FROM ff_experiment('skewed', 'orders', 'buyer')$$, '... so that the conversion is the same without values');
SELECT results_eq($$SELECT variant_key, total, mean, mean_per_user FROM ff_experiment('skewed', 'orders', 'buyer')$$,
	$$VALUES ('off', NULL::numeric, NULL::double precision, NULL::double precision), ('on', NULL, NULL, NULL)$$, '... where there are no figures of them');
CREATE TABLE visits (visitor text, day date);
INSERT INTO visits VALUES ('skewed-1', current_date), ('skewed-2', current_date - 1), ('skewed-3', current_date + 1), ('skewed-4', NULL);
SELECT is((SELECT outcomes FROM ff_experiment('skewed', 'visits', 'visitor', NULL, 'day') WHERE variant_key = 'on'), 2::bigint, 'where only the day is known, that of the assignment counts');
SET LOCAL timezone = 'Pacific/Kiritimati'; -- 14 hours ahead
DELETE FROM visits;
UPDATE ff.assignments SET assigned_at = '2026-03-01 11:00+00' WHERE flag_key = 'skewed' AND user_id = 'skewed-5';
INSERT INTO visits VALUES ('skewed-5', '2026-03-01'), ('skewed-5', '2026-03-02');
SELECT is((SELECT outcomes FROM ff_experiment('skewed', 'visits', 'visitor', NULL, 'day') WHERE variant_key = 'on'), 1::bigint, '... by the days of the session''s time zone');
RESET timezone;
CREATE TABLE riches (who text, much numeric);
INSERT INTO riches VALUES ('skewed-1', 1e400), ('skewed-2', 1e400), ('skewed-701', 1e-400), ('skewed-702', NULL);
SELECT results_eq($$SELECT variant_key, total, mean, mean_per_user FROM ff_experiment('skewed', 'riches', 'who', 'much')$$,
	$$VALUES ('off', 1e-400, 0::double precision, 0::double precision), ('on', 2e400, 'Infinity', 'Infinity')$$, 'totals are exact; a mean beyond a double is infinite, and no error');
CREATE VIEW broken AS SELECT who, 1 / (length(who) - 8) AS much FROM riches;
CREATE FUNCTION context(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE said text; BEGIN EXECUTE sql; EXCEPTION WHEN division_by_zero THEN GET STACKED DIAGNOSTICS said = PG_EXCEPTION_CONTEXT; RETURN said; END $$;
SELECT matches(context($$SELECT count(*) FROM ff_experiment('skewed', 'broken', 'who', 'much')$$), '^SQL statement "ff_experiment"\nSQL statement "SELECT count[^\n]*\nPL/pgSQL function context[^\n]*$',
	'errors are told without the query that was made');
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
SELECT is(ff_exposures('skewed', '2026-01-01 10:30+00', '2026-01-01 10:31+00') #> '{variants,0}' ->> 'unique_users', '3', '... of which a part counts as the whole');
SELECT results_eq($$SELECT (d ->> 'since')::timestamptz, (d ->> 'until')::timestamptz FROM ff_exposures('skewed', '2026-01-01 10:30+00', '2026-01-01 10:31+00') d$$,
	$$VALUES ('2026-01-01 10:00+00'::timestamptz, '2026-01-01 11:00+00'::timestamptz)$$, '... and it says so');
SELECT results_eq($$SELECT d ->> 'since', (d ->> 'until')::timestamptz FROM ff_exposures('skewed', NULL, '2026-01-01 11:00+00') d$$,
	$$VALUES (NULL::text, '2026-01-01 11:00+00'::timestamptz)$$, '... whole hours are what they are');
INSERT INTO ff.exposure_rollups VALUES ('default', 'skewed', 'on', date_trunc('hour', now(), 'UTC'), 1, 1, 1, now(), now());
SELECT is(ff_exposures('skewed', now()) #>> '{variants,0,evaluations}', '1', 'the present hour');
SELECT is(ff_exposures('skewed', clock_timestamp() + interval '1 second') -> 'variants', '[]', '... is not in a range that is yet to come');
SELECT is(ff_exposures('skewed', '2026-01-01 10:30+00', '2026-01-01 10:30+00') -> 'hourly', '[]', 'an empty range has no figures');
SELECT is(ff_exposures('skewed', '-infinity', 'infinity') #>> '{variants,0,evaluations}', '10', 'a range without ends');
DELETE FROM ff.exposure_rollups WHERE hour > '2026-01-02';
SELECT is(jsonb_array_length(ff_exposures('skewed') -> 'hourly'), 2, '... by the hour');
SELECT is(ff_exposures('skewed') #>> '{sample_ratio,0,warning}', 'true', '... with the sample ratio');
SELECT is(ff_exposures('no-such-flag'), NULL, 'null for a flag that is not there and was not');

---- what is read for it ----
ANALYZE ff.assignments;
CREATE FUNCTION reads(sql text, OUT scans bigint, OUT lookups bigint) LANGUAGE plpgsql AS $$
DECLARE before record; BEGIN
	SELECT seq_scan, idx_scan INTO before FROM pg_stat_xact_all_tables WHERE relid = 'ff.assignments'::regclass;
	EXECUTE sql;
	SELECT seq_scan - before.seq_scan, idx_scan - before.idx_scan INTO scans, lookups FROM pg_stat_xact_all_tables WHERE relid = 'ff.assignments'::regclass;
END $$;
SELECT results_eq($$SELECT * FROM reads('SELECT * FROM ff.sample_ratio WHERE flag_key = ''ten''')$$, 'VALUES (0::bigint, 1::bigint)', 'one flag''s assignments are looked up, once');
SELECT results_eq($$SELECT * FROM reads('SELECT ff_exposures(''ten'')')$$, 'VALUES (0::bigint, 1::bigint)', '... for the document, too');
SELECT results_eq($$SELECT * FROM reads('SELECT * FROM ff_experiment(''ten'', ''orders'', ''buyer'')')$$, 'VALUES (0::bigint, 2::bigint)', '... and for outcomes');
SELECT results_eq($$SELECT * FROM reads('SELECT * FROM ff.sample_ratio')$$, 'VALUES (1::bigint, 0::bigint)', 'for all flags they are read once');
SELECT is((SELECT sum(users) FROM ff.sample_ratio), (SELECT sum(users) FROM ff.flags, LATERAL (SELECT * FROM ff.sample_ratio r WHERE r.flag_key = key) r), '... and each is as by itself');
SELECT * FROM finish();
ROLLBACK;
