-- Contexts in every form that PostgreSQL stores them in, numbers to the last digit, and buckets.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(23);

INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('vip', 'boolean', 'false',
	'[{"id": "r", "if": {"attr": "vip", "op": "equals", "value": true}, "serve": "on"}]');

---- how they are stored ----
-- one byte of header, four, compressed, out of line plain, out of line compressed
CREATE TEMP TABLE stored (how text, c jsonb);
ALTER TABLE stored ALTER c SET STORAGE EXTERNAL;
INSERT INTO stored VALUES ('short', '{"vip": true}'), ('in line', jsonb_build_object('vip', true, 'x', repeat('x', 500))),
	('out of line', jsonb_build_object('vip', true, 'x', repeat('x', 9000)));
ALTER TABLE stored ALTER c SET STORAGE MAIN;
INSERT INTO stored VALUES ('compressed', jsonb_build_object('vip', true, 'x', repeat('x', 9000)));
ALTER TABLE stored ALTER c SET STORAGE EXTENDED;
INSERT INTO stored SELECT 'out of line, compressed', jsonb_build_object('vip', true, 'x', string_agg(md5(g::text), ' '))
	FROM generate_series(1, 2000) g;
SELECT ok(ff_bool('vip', c), how || ', of ' || pg_column_size(c) || ' bytes') FROM stored;
SELECT is((SELECT count(*) FROM stored, generate_series(1, 200) g WHERE ff_bool('vip', c - CASE WHEN g % 2 = 0 THEN 'vip' ELSE 'x' END)),
	500::bigint, 'each changed on the way');
UPDATE stored SET c = '[true]' || jsonb_build_array(c -> 'x');
SELECT is((SELECT count(*) FROM stored WHERE (ff_evaluate('vip', c)).error_code = 'INVALID_CONTEXT'), 5::bigint, 'none of them an object');
SELECT is_empty($$SELECT n FROM generate_series(1, 300) n, LATERAL (SELECT jsonb_object_agg('k' || g, g) AS c FROM generate_series(1, n) g) o
	WHERE ff_bool('vip', c) OR ff_bool('vip', c || '{"vip": "true"}') OR NOT ff_bool('vip', c || '{"vip": true}')$$,
	'1 to 300 members beside the one that counts');
INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('deep', 'boolean', 'false',
	'[{"if": {"attr": "a.b.c.d.e.f.g.h", "op": "contains", "value": 7}, "serve": "on"}]');
SELECT ok(ff_bool('deep', '{"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": [1, 7]}}}}}}}}'), 'eight parts deep');
SELECT ok(NOT ff_bool('deep', '{"a": {"b": [{"c": 7}]}, "a.b.c.d.e.f.g.h": [7]}'), 'which is a path and no name');
SELECT ok(ff_bool('vip', (repeat('{"x": ', 2000) || '1' || repeat('}', 2000))::jsonb || '{"vip": true}'), 'nested deeper than any definition');

-- a definition that doesn't fit in a page either
INSERT INTO ff.flags (key, type, default_value, variants, overrides) SELECT 'long', 'json', jsonb_build_object('text', string_agg(md5(g::text), ' ')),
	'{"short": 1}', jsonb_build_array(jsonb_build_object('variant', 'short', 'users', jsonb_agg('user-' || g))) FROM generate_series(1, 20000) g;
SELECT is(ff_json('long', '{"user_id": "u"}'), (SELECT default_value FROM ff.flags WHERE key = 'long'), 'a value of 660 kB');
SELECT is((SELECT sum(ff_json('long', jsonb_build_object('user_id', 'user-' || g))::int) FROM generate_series(1, 20000) g), 20000::bigint,
	'twenty thousand overrides');

---- numbers ----
-- They compare as the doubles that their texts are, with however many digits they come.
CREATE TEMP TABLE numbers AS
	SELECT (random() * 10 ^ (random() * 30 - 15)::int)::numeric AS x FROM generate_series(1, 1000)
	UNION ALL SELECT 0.3 + g::numeric / 1e17 FROM generate_series(-50, 50) g
	UNION ALL SELECT 9007199254740992 + g FROM generate_series(-50, 50) g
	UNION ALL SELECT unnest(ARRAY[0, -0.0, 0.1 + 0.2, 1e-320, 1e308, 1.7976931348623157e308, 4.9e-324, 123456789012345678901234567890.123456789]);
INSERT INTO numbers SELECT -x FROM numbers;
CREATE TEMP TABLE bounds (b numeric);
INSERT INTO bounds VALUES (0), (0.3), (0.30000000000000004), (9007199254740992), (9007199254740993), (1e-10), (-2.5), (1e15);
INSERT INTO ff.flags (key, type, default_value, rules)
	SELECT op || '.' || row_number() OVER (), 'boolean', 'false', jsonb_build_array(jsonb_build_object('serve', 'on',
		'if', jsonb_build_object('attr', 'x', 'op', op, 'value', b)))
	FROM bounds, unnest(ARRAY['equals', 'not_equals', 'greater_than', 'greater_or_equal', 'less_than', 'less_or_equal']) op;
SELECT is_empty($$SELECT f.key, x FROM ff.flags f, numbers,
	LATERAL (SELECT (f.rules #>> '{0,if,value}')::float8 AS b, x::float8 AS a) d
	WHERE f.key ~ '\.\d+$' AND ff_bool(f.key, jsonb_build_object('x', x)) IS DISTINCT FROM CASE f.rules #>> '{0,if,op}'
		WHEN 'equals' THEN a = b WHEN 'not_equals' THEN a <> b WHEN 'greater_than' THEN a > b
		WHEN 'greater_or_equal' THEN a >= b WHEN 'less_than' THEN a < b ELSE a <= b END$$, 'comparisons are those of double precision');
SELECT is((SELECT string_agg(DISTINCT (ff_evaluate(key, '{"x": 1e400}')).reason, ' ') FROM ff.flags WHERE key ~ '\.\d+$'), 'DEFAULT',
	'a number that is no finite double compares with none');
SELECT is((SELECT string_agg(DISTINCT (ff_evaluate(key, jsonb_build_object('x', x))).reason, ' ') FROM ff.flags,
	unnest(ARRAY['"0"', 'null', '{"x": 0}', '[]', 'true']::jsonb[]) x WHERE key ~ '\.\d+$'), 'DEFAULT', 'nor does what is no number');
INSERT INTO ff.flags (key, type, default_value) SELECT 'value-' || row_number() OVER (ORDER BY x), 'number', to_jsonb(x) FROM numbers;
SELECT is_empty($$SELECT key FROM ff.flags WHERE key ~ '^value-' AND
	(ff_number(key) <> default_value::text::float8 OR (ff_evaluate(key)).value IS DISTINCT FROM default_value)$$, 'a number is served as it was written');

-- A user id is the number that is written; what no double holds exactly is none.
INSERT INTO ff.flags (key, type, default_value, overrides) VALUES ('listed', 'boolean', 'false',
	'[{"variant": "on", "users": ["0", "5", "-5", "120000", "9007199254740992", "-9007199254740992", "9007199254740991"]}]');
SELECT is((SELECT string_agg(n, ' ') FROM unnest(ARRAY['0', '-0', '5', '5.0', '-5.000', '1.2e5', '9007199254740992', '-9007199254740992.0', '9007199254740991',
		'0.0000001', '5.0000000000000000000001', '4.9999999999999999999999', '5.5', '5.00001', '120000.0001', '9007199254740993', '9007199254740992.4',
		'9007199254740991.99999', '-9007199254740992.00000000001', '1e20', '1e200', '1e400', '1e-400', '99999999999999999999']) n
	WHERE ff_bool('listed', ('{"user_id": ' || n || '}')::jsonb)),
	'0 -0 5 5.0 -5.000 1.2e5 9007199254740992 -9007199254740992.0 9007199254740991', 'a user id is the number as it is written');
-- So is a weight, which has three decimals and not one more.
CREATE FUNCTION takes_weight(n text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ff.flags (key, type, default_value, rollout) VALUES ('weight' || n, 'boolean', 'false', ('[{"variant": "on", "weight": ' || n || '}]')::jsonb);
	RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN false;
END $$;
SELECT is((SELECT string_agg(n, ' ') FROM unnest(ARRAY['0', '100', '100.000', '99.999', '0.001', '12.345', '12.34500000', '1e1',
		'99.9999999999999999999', '12.34500000000000000001', '12.3449999999999999999', '100.0000000000000000001', '0.0001', '1e-30', '-0.001', '1e-400',
		'0.0000000000000001', '12.3451']) n WHERE takes_weight(n)),
	'0 100 100.000 99.999 0.001 12.345 12.34500000 1e1', 'so is a weight');

---- buckets ----
\set vectors `cat test/engine/vectors/bucketing.json`
CREATE TEMP TABLE vectors AS SELECT 'v-' || row_number() OVER () AS key, v.*
	FROM jsonb_to_recordset(:'vectors') AS v (salt text, unit text, bucket int) WHERE unit <> '';
SELECT cmp_ok(count(*), '>=', 50::bigint, 'there are vectors') FROM vectors;
INSERT INTO ff.flags (key, type, default_value, bucketing, rollout)
	SELECT key || suffix, 'boolean', 'false', jsonb_build_object('salt', salt),
		jsonb_build_array(jsonb_build_object('variant', 'on', 'weight', (bucket + inside) / 1000.0))
	FROM vectors, (VALUES ('-in', 1), ('-out', 0)) i (suffix, inside);
SELECT is_empty($$SELECT * FROM vectors WHERE NOT ff_bool(key || '-in', jsonb_build_object('user_id', unit))
	OR ff_bool(key || '-out', jsonb_build_object('user_id', unit))$$, 'every unit is in its bucket, to the thousandth of a percent');
INSERT INTO ff.flags (key, type, default_value, rules)
	SELECT key || suffix, 'boolean', 'false', jsonb_build_array(jsonb_build_object('serve', 'on',
		'if', jsonb_build_object('percentage', (bucket + inside) / 1000.0, 'salt', salt, 'by', 'org')))
	FROM vectors, (VALUES ('-cond-in', 1), ('-cond-out', 0)) i (suffix, inside);
SELECT is_empty($$SELECT * FROM vectors WHERE NOT ff_bool(key || '-cond-in', jsonb_build_object('org', unit, 'user_id', 'u'))
	OR ff_bool(key || '-cond-out', jsonb_build_object('org', unit, 'user_id', 'u'))$$, 'and so it is for conditions');
SELECT is_empty($$SELECT c FROM vectors, unnest(ARRAY['{}', '{"user_id": ""}', '{"user_id": null}', '{"user_id": 1.5}', '{"user_id": true}']::jsonb[]) c
	WHERE ff_bool(key || '-in', c)$$, 'nobody is in no bucket');

SELECT * FROM finish();
ROLLBACK;
