-- The flags. n varies the operands, so that no two of the mixed flags share anything.

-- A condition of one of five kinds that holds for every user, or for none.
CREATE FUNCTION condition(kind int, holds boolean, n int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE kind
		WHEN 0 THEN jsonb_build_object('attr', CASE WHEN holds THEN 'device' ELSE 'plan' END, 'op', 'equals',
			'value', CASE WHEN holds THEN 'phone' ELSE 'plan-' || n END)
		WHEN 1 THEN jsonb_build_object('attr', CASE WHEN holds THEN 'os_version' ELSE 'country' END, 'op', 'in_list',
			'value', (SELECT jsonb_agg(CASE WHEN holds AND i = 10 THEN '17.1' ELSE 'x' || n || '-' || i END)
					  FROM generate_series(1, 20) i))
		WHEN 2 THEN jsonb_build_object('attr', 'signup_days', 'op', 'greater_than',
			'value', CASE WHEN holds THEN -1 - n ELSE 100000 + n END)
		WHEN 3 THEN jsonb_build_object('attr', 'email', 'op', 'regex',
			'value', CASE WHEN holds THEN format('^u[0-9]{1,%s}@', 20 + n) ELSE format('@nowhere%s\.example$', n) END)
		ELSE jsonb_build_object('attr', 'app_version', 'op', 'semver_greater_or_equal',
			'value', CASE WHEN holds THEN '0.1.' || n ELSE '99.0.' || n END)
	END $$;

-- Ten rules of two conditions: the first holds, the second fails, but in the last rule.
CREATE FUNCTION ten_rules(n int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('id', 'rule-' || r, 'serve', 'on', 'if', jsonb_build_object('all',
		jsonb_build_array(condition(2 * r % 5, true, 20 * n + 2 * r), condition((2 * r + 1) % 5, r = 9, 20 * n + 2 * r + 1)))) ORDER BY r)
	FROM generate_series(0, 9) r $$;

INSERT INTO ff.flags (key, type, default_value, rules, rollout) VALUES
	('plain', 'boolean', 'true', NULL, NULL),
	('rollout', 'boolean', 'false', NULL, '[{"variant": "on", "weight": 30}]'),
	('rules', 'boolean', 'false', ten_rules(0), NULL);
INSERT INTO ff.flags (key, type, default_value, variants, rollout) VALUES
	('variants', 'string', '"none"', '{"a": "A", "b": "B", "c": "C", "d": "D"}',
	 '[{"variant": "a", "weight": 40}, {"variant": "b", "weight": 30}, {"variant": "c", "weight": 20}, {"variant": "d", "weight": 10}]');

-- 200 mixed flags in a namespace of their own: a quarter of each kind.
CREATE TABLE mixed_flags (LIKE ff.flags INCLUDING ALL);
CREATE TABLE mixed_segments (LIKE ff.segments INCLUDING ALL);
SELECT ff_register('mixed_flags', 'mixed', 'mixed_segments') \g /dev/null
GRANT SELECT (key) ON mixed_flags TO PUBLIC;
INSERT INTO mixed_flags (key, type, default_value, rules, rollout, version, created_at, updated_at)
SELECT 'mixed-' || n, 'boolean', 'false',
	CASE n % 4 WHEN 3 THEN ten_rules(n) END,
	CASE n % 4 WHEN 1 THEN '[{"variant": "on", "weight": 30}]'
			   WHEN 2 THEN '[{"variant": "on", "weight": 40}, {"variant": "off", "weight": 30}]' END::jsonb,
	1, now(), now()
FROM generate_series(0, 199) n;
