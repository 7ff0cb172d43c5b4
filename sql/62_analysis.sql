-- Analysis of experiments: whether users were shared out as configured, and what became of them.

CREATE FUNCTION ff_chi_squared_p(chi_squared double precision, degrees integer)
	RETURNS double precision LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_chi_squared_p(double precision, integer) IS 'the probability of a chi-squared as large or larger, by chance';

CREATE FUNCTION ff_allocations(OUT namespace text, OUT flag_key text, OUT rule_id text, OUT variant_key text,
							   OUT weight double precision, OUT active boolean, OUT started_at timestamptz, OUT ended_at timestamptz)
	RETURNS SETOF record LANGUAGE c STABLE PARALLEL RESTRICTED COST 10000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_allocations() IS 'by which shares (in percent) experiments give variants at random: a null rule_id is the rollout';

-- The users of one flag, however many others have. By the key and not its hash: from a key that is asked for
-- the planner can tell how many there are, and it is known beside the joins.
CREATE INDEX assignments_by_flag ON ff.assignments (flag_key);

-- From the inside out: shares, and users counted by the runs of flags, in one list, so that assignments are read once and
-- those of a flag by the index; the users of each share; what the test needs of its allocation; the test.
-- COLLATE "C" is that of ff.assignments: who asks for one flag asks the index.
-- The setting is asked for as one that may be missing, because a planner's guess may come before
-- the library is loaded; when the view is run, ff_allocations has loaded it.
CREATE VIEW ff.sample_ratio AS
	SELECT namespace, flag_key, rule_id, variant_key, active, users, total_users, configured_share, actual_share, deviation,
		chi_squared, degrees, p_value,
		COALESCE(p_value OPERATOR(pg_catalog.<) 0.001::double precision, false)
			OR COALESCE(total_users OPERATOR(pg_catalog.>=) 1000 AND pg_catalog.abs(deviation) OPERATOR(pg_catalog.>)
				pg_catalog.current_setting('ff.sample_ratio_tolerance', true)::double precision, false) AS warning
	FROM (
		SELECT namespace, flag_key, rule_id, variant_key, active, users, total_users, configured_share, actual_share,
			actual_share OPERATOR(pg_catalog.-) configured_share AS deviation, chi_squared, degrees,
			CASE WHEN degrees OPERATOR(pg_catalog.>) 0 AND least_expected OPERATOR(pg_catalog.>=) 5
				THEN @extschema@.ff_chi_squared_p(chi_squared, degrees) END AS p_value
		FROM (
			SELECT namespace, flag_key, rule_id, variant_key, active, users::bigint AS users, total_users::bigint AS total_users, configured_share,
				CASE WHEN total_users OPERATOR(pg_catalog.>) 0
					THEN users OPERATOR(pg_catalog.*) 100 OPERATOR(pg_catalog./) total_users END AS actual_share,
				pg_catalog.sum(CASE WHEN expected OPERATOR(pg_catalog.>) 0 THEN
					(users OPERATOR(pg_catalog.-) expected) OPERATOR(pg_catalog.^) 2 OPERATOR(pg_catalog./) expected END) OVER allocation AS chi_squared,
				(pg_catalog.count(*) OVER allocation)::integer OPERATOR(pg_catalog.-) 1 AS degrees,
				pg_catalog.min(expected) OVER allocation AS least_expected
			FROM (
				SELECT namespace, flag_key, rule_id, variant_key, active, users, configured_share,
					pg_catalog.sum(users) OVER allocation AS total_users,
					pg_catalog.sum(users) OVER allocation OPERATOR(pg_catalog.*) configured_share OPERATOR(pg_catalog./) 100 AS expected
				FROM (
					SELECT namespace, flag_key, rule_id, variant_key, pg_catalog.bool_or(active) AS active, pg_catalog.max(weight) AS configured_share,
						pg_catalog.sum(users)::double precision AS users
					FROM (
						SELECT namespace COLLATE "C" AS namespace, flag_key COLLATE "C" AS flag_key, rule_id,
							variant_key COLLATE "C" AS variant_key, active, weight, 0::bigint AS users
						FROM @extschema@.ff_allocations()
						UNION ALL
						SELECT a.namespace, a.flag_key, CASE WHEN a.reason OPERATOR(pg_catalog.=) 'RULE_MATCH' THEN a.rule_id END, a.variant_key, NULL, NULL,
							pg_catalog.count(*) FILTER (WHERE a.assigned_at OPERATOR(pg_catalog.>=) COALESCE(run.started_at, '-infinity')
								AND a.assigned_at OPERATOR(pg_catalog.<=) COALESCE(run.ended_at, 'infinity'))
						FROM (
							SELECT DISTINCT namespace COLLATE "C" AS namespace, flag_key COLLATE "C" AS flag_key, started_at, ended_at
							FROM @extschema@.ff_allocations()
						) run
						JOIN ff.assignments a ON a.namespace OPERATOR(pg_catalog.=) run.namespace AND a.flag_key OPERATOR(pg_catalog.=) run.flag_key
						WHERE a.reason OPERATOR(pg_catalog.=) ANY ('{ROLLOUT,DEFAULT}'::text[])
							OR a.reason OPERATOR(pg_catalog.=) 'RULE_MATCH' AND a.rule_id IS NOT NULL
						GROUP BY a.namespace, a.flag_key, a.variant_key, a.reason, a.rule_id
					) listed
					GROUP BY namespace, flag_key, rule_id, variant_key
					HAVING pg_catalog.count(weight) OPERATOR(pg_catalog.>) 0
				) counted
				WINDOW allocation AS (PARTITION BY namespace, flag_key, rule_id)
			) expecting
			WINDOW allocation AS (PARTITION BY namespace, flag_key, rule_id)
		) compared
	) tested;
COMMENT ON VIEW ff.sample_ratio IS
	'users of each variant against its configured share. A warning: p_value < 0.001, where each variant is expected to have at least 5 users; or a deviation of more than ff.sample_ratio_tolerance percentage points, where the allocation has at least 1000 users';

CREATE FUNCTION ff_experiment(key text, outcomes regclass, user_column name, value_column name DEFAULT NULL,
							  time_column name DEFAULT NULL, namespace text DEFAULT NULL,
							  OUT variant_key text, OUT users bigint, OUT outcomes bigint, OUT converted bigint,
							  OUT conversion double precision, OUT total numeric, OUT mean double precision,
							  OUT mean_per_user double precision, OUT share double precision,
							  OUT configured_share double precision, OUT sample_ratio_p_value double precision,
							  OUT sample_ratio_warning boolean)
	RETURNS SETOF record LANGUAGE c STABLE COST 100000 ROWS 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_experiment(text, regclass, name, name, name, text) IS 'what became of the users of each variant, by a table of yours';

CREATE FUNCTION ff_exposures(key text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE COST 10000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposures(text, timestamptz, timestamptz, text) IS 'figures of a flag''s exposures as one document';
