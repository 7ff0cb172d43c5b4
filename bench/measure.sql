-- Runs every query in every pass, the first pass uncounted, and reports medians as ratios to a
-- floor of the same run. `per` is what a figure is per: rows of the query, or evaluations.
CREATE TABLE queries (n serial, name text PRIMARY KEY, sql text, per bigint, floor text, target numeric);
INSERT INTO queries (name, sql, per, floor, target) VALUES
	('count', 'SELECT count(*) FROM users', :users, NULL, NULL),
	('filter', $$SELECT count(*) FROM users WHERE ctx->>'country' = 'US'$$, :users, NULL, NULL),
	('trivial', $$SELECT count(*) FROM users WHERE bench_true('plain', ctx)$$, :users, NULL, NULL),
	('no rules', $$SELECT count(*) FROM users WHERE ff_bool('plain', ctx)$$, :users, 'trivial', 1.3),
	('rollout 30 %', $$SELECT count(*) FROM users WHERE ff_bool('rollout', ctx)$$, :users, 'filter', 1.3),
	('four variants', $$SELECT count(*) FROM users WHERE ff_string('variants', ctx) = 'A'$$, :users, 'filter', NULL),
	('ten rules', $$SELECT count(*) FROM users WHERE ff_bool('rules', ctx)$$, :users, 'filter', 5),
	('ten rules, whole result', $$SELECT count(*) FROM users WHERE ff_evaluate('rules', ctx) IS NOT NULL$$, :users, 'filter', NULL),
	('all of 200 mixed flags', $$SELECT sum((SELECT count(*) FROM ff_evaluate_all(ctx, 'mixed'))) FROM users WHERE id <= 2000$$,
		2000 * 200, 'filter', 1),
	('plpgsql, no rules', $$SELECT count(*) FROM users WHERE id <= 50000 AND peer_bool('plain', ctx)$$, least(50000, :users), 'no rules', NULL),
	('plpgsql, rollout 30 %', $$SELECT count(*) FROM users WHERE id <= 50000 AND peer_bool('rollout', ctx)$$, least(50000, :users), 'rollout 30 %', NULL),
	('plpgsql, ten rules', $$SELECT count(*) FROM users WHERE id <= 20000 AND peer_bool('rules', ctx)$$, least(20000, :users), 'ten rules', NULL);
CREATE TABLE timings (name text, pass int, seconds double precision);

-- the answers are right before they are timed
DO $$
BEGIN
	ASSERT (SELECT bool_and(ff_bool('rules', ctx) AND peer_bool('rules', ctx)) FROM users WHERE id <= 1000), 'ten rules';
	ASSERT (SELECT count(*) BETWEEN 2700 AND 3300 FROM users WHERE id <= 10000 AND ff_bool('rollout', ctx)), 'rollout';
	ASSERT (SELECT count(*) = 200 AND count(*) FILTER (WHERE reason = 'RULE_MATCH') = 50
			FROM ff_evaluate_all((SELECT ctx FROM users WHERE id = 1), 'mixed')), 'mixed';
END $$;

SET jit = off;
SET max_parallel_workers_per_gather = 0;
CREATE PROCEDURE measure(passes int) LANGUAGE plpgsql AS $$
DECLARE
	query queries%ROWTYPE;
	start timestamptz;
BEGIN
	FOR pass IN 0 .. passes LOOP
		FOR query IN SELECT * FROM queries ORDER BY n LOOP
			start := clock_timestamp();
			EXECUTE query.sql;
			IF pass > 0 THEN
				INSERT INTO timings VALUES (query.name, pass, extract(epoch FROM clock_timestamp() - start));
			END IF;
		END LOOP;
	END LOOP;
END $$;
CALL measure(:passes);

CREATE VIEW figures AS
	SELECT q.n, q.name, q.floor, q.target, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) * 1e9 / q.per AS ns
	FROM queries q JOIN timings t USING (name) GROUP BY q.n, q.name, q.floor, q.target, q.per;
CREATE VIEW report AS
	SELECT f.n, f.name, round(f.seconds::numeric, 3) AS seconds, round(f.ns::numeric) AS ns,
		round((f.ns / b.ns)::numeric, 2) AS ratio, f.floor AS "to", f.target, round((f.ns / b.ns)::numeric, 2) <= f.target AS met
	FROM figures f LEFT JOIN figures b ON b.name = f.floor;

-- how many times faster than plpgsql
\pset tuples_only on
\pset format unaligned
SELECT json_strip_nulls(json_build_object('name', name, 'seconds', seconds, 'ns', ns, 'ratio', ratio, 'to', "to",
	'target', CASE WHEN name LIKE 'plpgsql%' THEN 20 ELSE target END,
	'met', CASE WHEN name LIKE 'plpgsql%' THEN ratio >= 20 ELSE met END)) FROM report ORDER BY n;
