-- ff_explain, ff_flag, ff_segment and ff_cache_info.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(13);

INSERT INTO ff.segments (key, "if", included, excluded) VALUES
	('staff', '{"attr": "email", "op": "ends_with", "value": "@example.com"}', '["inside"]', '["outside"]');
INSERT INTO ff.flags (key, type, default_value) VALUES ('base', 'boolean', 'true');
INSERT INTO ff.flags (key, type, default_value, requires, overrides, rules, rollout, experiment, tags, owner, expires_at) VALUES
	('f', 'boolean', 'false', '[{"flag": "base", "variant": "on"}]', '[{"variant": "on", "users": ["vip"]}]',
	 '[{"id": "staff", "if": {"all": [{"segment": "staff"}, {"not": {"attr": "plan", "op": "equals", "value": "free"}}]}, "serve": "on"},
	   {"id": "split", "if": {"attr": "country", "op": "in_list", "value": ["DE", "AT", "CH"]},
		"serve": [{"variant": "on", "weight": 30}, {"variant": "off", "weight": 30}]}]',
	 '[{"variant": "on", "weight": 12.5}]', '{"active": true, "traffic": 80}', '["a", "b"]', 'us', '2027-01-01Z');

SELECT is((SELECT string_agg(stage || coalesce(' ' || path, '') || CASE WHEN matched THEN ' +' ELSE ' -' END, E'\n' ORDER BY step)
	FROM ff_explain('f', '{"user_id": "user-1", "country": "DE"}') WHERE stage <> 'result'), $$kill switch enabled -
kill switch enabled -
default default_value +
prerequisite requires[0] +
override overrides -
traffic experiment.traffic +
condition if -
condition rules[0].if.all[0] -
rule rules[0] -
condition rules[1].if +
split rules[1].serve[0] +
split rules[1].serve[1] -
rule rules[1] +$$, 'every step, in order');
SELECT is((SELECT detail FROM ff_explain('f', '{"user_id": "user-1", "country": "DE"}') WHERE path = 'rules[1].if'),
	'country "DE" in_list "DE" and 2 more', 'what was compared');
SELECT matches((SELECT detail FROM ff_explain('f', '{"user_id": "user-1", "country": "DE"}') WHERE path = 'rules[1].serve[1]'),
	'^bucket 25340 of "f:user-1" is not in 30000 to below 60000: off$', 'bucket and threshold');
SELECT is((SELECT detail FROM ff_explain('f', '{}') WHERE stage = 'override'), 'the context has no user id', 'a context without a user');
SELECT is((SELECT detail FROM ff_explain('f', '{"user_id": "inside"}') WHERE stage = 'segment'), 'user "inside" is included', 'a listed user');
SELECT is((SELECT detail::jsonb ->> 'error_message' FROM ff_explain('none') WHERE stage = 'result'), 'flag "none" does not exist', 'a flag that is not there');

-- explanations are evaluated without the cache: they must agree with it
SELECT is_empty($$
	SELECT c.c, e, x.d FROM
		(SELECT jsonb_strip_nulls(jsonb_build_object('user_id', u, 'country', y, 'email', m, 'plan', p)) AS c
		 FROM unnest(ARRAY['vip', 'inside', 'outside', '', NULL] || ARRAY(SELECT 'u' || g FROM generate_series(1, 30) g)) u,
			unnest(ARRAY['DE', 'US', NULL]) y, unnest(ARRAY['x@example.com', NULL]) m, unnest(ARRAY['free', NULL]) p) c,
		LATERAL ff_evaluate('f', c.c) e,
		LATERAL (SELECT detail::jsonb AS d FROM ff_explain('f', c.c) WHERE stage = 'result') x
	WHERE (e.value, e.variant_key, e.reason, e.rule_id) IS DISTINCT FROM
		(x.d -> 'value', x.d ->> 'variant_key', x.d ->> 'reason', x.d ->> 'rule_id')$$,
	'what is explained is what is answered');

---- documents ----
SELECT is(ff_flag('f') - '{version,created_at,updated_at,requires,overrides,rules,rollout,experiment}'::text[],
	'{"key": "f", "type": "boolean", "state": "active", "enabled": true, "default_value": false, "tags": ["a", "b"],
	  "owner": "us", "expires_at": "2027-01-01T00:00:00Z"}', 'a flag as a document');
SELECT is(ff_flag('f') -> 'rules', (SELECT rules FROM ff.flags WHERE key = 'f'), 'with its rules');
SELECT is(ff_segment('staff') - '{created_at,updated_at}'::text[],
	'{"key": "staff", "state": "active", "if": {"attr": "email", "op": "ends_with", "value": "@example.com"},
	  "included": ["inside"], "excluded": ["outside"], "version": 1}', 'a segment as a document');
SELECT is(ff_flag('none'), NULL, 'no document of what is not there');

---- the cache ----
SELECT ok(flags >= 2 AND segments >= 1 AND bytes BETWEEN 1000 AND bytes_limit AND hits > 100 AND loads >= 3, 'is visible')
FROM ff_cache_info();
SET LOCAL ff.cache_size = '256kB';
INSERT INTO ff.flags (key, type, default_value, description)
	SELECT 'many-' || g, 'number', to_jsonb(g), repeat('x', 100) FROM generate_series(1, 2000) g;
SELECT ok(bool_and(ff_number('many-' || g) = g) AND (SELECT evictions > 500 AND bytes < 2 * bytes_limit FROM ff_cache_info()),
	'stays within ff.cache_size, and right') FROM generate_series(1, 2000) g;

SELECT * FROM finish();
ROLLBACK;
