-- How much a definition may hold: what is at the limit is taken, one more is refused with 54000.
-- The numbers are those of doc/sql.md.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(38);

CREATE FUNCTION code(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

-- writes a boolean flag with this in one column
CREATE SEQUENCE names;
CREATE FUNCTION with_column(col text, val jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT code(format('INSERT INTO ff.flags (key, type, default_value, %I) VALUES (%L, %L, %L, %L)',
					   col, 'f' || nextval('names'), 'boolean', 'false', val)) $$;
CREATE FUNCTION with_condition(condition jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT with_column('rules', jsonb_build_array(jsonb_build_object('if', condition, 'serve', 'on'))) $$;
CREATE FUNCTION with_value(op text, val jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT with_condition(jsonb_build_object('attr', 'a', 'op', op, 'value', val)) $$;
CREATE FUNCTION strings(n int, prefix text DEFAULT 's') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(prefix || g) FROM generate_series(1, n) g $$;
CREATE FUNCTION flag_refs(n int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('flag', 'needed-' || g, 'variant', 'on')) FROM generate_series(1, n) g $$;
INSERT INTO ff.flags (key, type, default_value) SELECT 'needed-' || g, 'boolean', 'true' FROM generate_series(1, 65) g;

---- one definition ----
SELECT is(with_column('variants', (SELECT jsonb_object_agg('v' || g, true) FROM generate_series(1, n) g)), r, n || ' variants')
FROM (VALUES (256, 'taken'), (257, '54000')) t (n, r);
SELECT is(with_column('rules', (SELECT jsonb_agg('{"if": {"attr": "a", "op": "exists"}, "serve": "on"}'::jsonb) FROM generate_series(1, n))), r, n || ' rules')
FROM (VALUES (1000, 'taken'), (1001, '54000')) t (n, r);
SELECT is(with_condition(jsonb_build_object('any', (SELECT jsonb_agg('{"attr": "a", "op": "exists"}'::jsonb) FROM generate_series(1, n)))), r, n || ' conditions')
FROM (VALUES (9999, 'taken'), (10001, '54000')) t (n, r);
SELECT is(with_condition((repeat('{"not": ', n - 1) || '{"attr": "a", "op": "exists"}' || repeat('}', n - 1))::jsonb), r, 'nested ' || n || ' deep')
FROM (VALUES (16, 'taken'), (18, '54000')) t (n, r);
SELECT is(with_value('in_list', strings(n)), r, n || ' entries of a list')
FROM (VALUES (100000, 'taken'), (100001, '54000')) t (n, r);
SELECT is(with_value(op, strings(n)), r, n || ' alternatives of ' || op)
FROM (VALUES (100, 'taken'), (101, '54000')) t (n, r), unnest(ARRAY['contains', 'starts_with', 'ends_with', 'regex']) op;
SELECT is(with_value('in_cidr', (SELECT jsonb_agg('10.0.' || g / 256 || '.' || g % 256) FROM generate_series(1, n) g)), r, n || ' networks')
FROM (VALUES (100, 'taken'), (101, '54000')) t (n, r);
SELECT is(with_value('equals', to_jsonb(repeat('s', n))), r, 'a string of ' || n || ' bytes')
FROM (VALUES (4096, 'taken'), (4097, '54000')) t (n, r);
SELECT is(with_value('regex', to_jsonb(repeat('s', n))), r, 'a pattern of ' || n || ' bytes')
FROM (VALUES (1024, 'taken'), (1025, '54000')) t (n, r);
SELECT is(with_condition(jsonb_build_object('attr', rtrim(repeat('a.', n), '.'), 'op', 'exists')), r, 'a path of ' || n || ' parts')
FROM (VALUES (8, 'taken'), (9, '54000')) t (n, r);
SELECT is(with_column('requires', flag_refs(n)), r, n || ' prerequisites')
FROM (VALUES (64, 'taken'), (65, '54000')) t (n, r);
SELECT is(code(format('INSERT INTO ff.flags (key, type, default_value) VALUES (%L, ''boolean'', ''true'')', repeat('k', n))), r, 'a key of ' || n || ' bytes')
FROM (VALUES (255, 'taken'), (256, '22023')) t (n, r);
SELECT is(code(format('INSERT INTO ff.flags (key, type, default_value) VALUES (%L, ''json'', %L)', 'size-' || n, to_jsonb(repeat('x', n)))), r, 'a value of ' || n || ' bytes')
FROM (VALUES (16000000, 'taken'), (17000000, '54000')) t (n, r);

---- flags that depend on one another ----
-- A chain of n flags, called what-1 (which depends on none) to what-n.
CREATE FUNCTION make_chain(what text, n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ff.flags (key, type, default_value) VALUES (what || '-1', 'boolean', 'true');
	FOR i IN 2 .. n LOOP
		INSERT INTO ff.flags (key, type, default_value, requires) VALUES (what || '-' || i, 'boolean', 'true',
			jsonb_build_array(jsonb_build_object('flag', what || '-' || (i - 1), 'variant', 'on')));
	END LOOP;
	RETURN what || '-' || n;
END
$$;
SELECT make_chain('chain', 33) AS head \gset
SELECT is((ff_evaluate(:'head')).reason, 'DEFAULT', '32 steps from one flag to another');
SELECT is(code($$INSERT INTO ff.flags (key, type, default_value, requires)
	VALUES ('chain-34', 'boolean', 'true', '[{"flag": "chain-33", "variant": "on"}]')$$), '54000', '33 steps');

-- Whichever end it grows at: what was accepted is not to fail because of a change elsewhere.
INSERT INTO ff.flags (key, type, default_value) VALUES ('below', 'boolean', 'true');
SELECT is(code($$UPDATE ff.flags SET requires = '[{"flag": "below", "variant": "on"}]' WHERE key = 'chain-1'$$), '54000',
	'33 steps, the last of which is added below');
SELECT is((SELECT error_code FROM ff_evaluate(:'head')), NULL, 'no change makes the evaluation of another flag fail');

-- Two ways to one flag: the longer one counts, whichever is listed first.
SELECT make_chain('low', 20), make_chain('high', 20) \g /dev/null
SET session_replication_role = replica;
UPDATE ff.flags SET requires = '[{"flag": "low-20", "variant": "on"}]' WHERE key = 'high-1';
SET session_replication_role = origin;
SELECT is(code(format('INSERT INTO ff.flags (key, type, default_value, requires) VALUES (%L, ''boolean'', ''true'', %L)', 'both-' || a,
		jsonb_build_array(jsonb_build_object('flag', a, 'variant', 'on'), jsonb_build_object('flag', b, 'variant', 'on')))),
	'54000', 'a short and a long way, ' || a || ' first')
FROM (VALUES ('high-20', 'low-20'), ('low-20', 'high-20')) t (a, b);

SELECT * FROM finish();
ROLLBACK;
