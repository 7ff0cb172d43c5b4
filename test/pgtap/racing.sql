-- Two sessions that change what belongs together at the same time. Whether the second one waits, or
-- is refused, now or at its COMMIT, is not said here: in the end the flags must hold together, as
-- they must when one session writes after the other.
\set ON_ERROR_STOP 1
CREATE EXTENSION ff;
CREATE EXTENSION dblink;
SELECT plan(7);

SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s', :'HOST', :'PORT', current_database(), current_user))
FROM unnest(ARRAY['one', 'two']) name \g /dev/null

-- Both statements are under way in transactions of their own before either commits. The second may
-- have to wait for the first; who is refused is rolled back.
CREATE PROCEDURE race(first text, second text, isolation text DEFAULT 'READ COMMITTED') LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['one', 'two'] LOOP
		PERFORM dblink_exec(name, 'BEGIN ISOLATION LEVEL ' || isolation);
		PERFORM * FROM dblink(name, 'SELECT count(*) FROM ff.flags') t (n bigint);
	END LOOP;
	PERFORM dblink_exec('one', first);
	PERFORM dblink_send_query('two', second);
	FOR i IN 1 .. 50 LOOP
		EXIT WHEN dblink_is_busy('two') = 0;
		PERFORM pg_sleep(0.01);
	END LOOP;
	PERFORM dblink_exec('one', 'COMMIT', false);
	FOR i IN 1 .. 2 LOOP
		PERFORM * FROM dblink_get_result('two', false) t (status text);
	END LOOP;
	PERFORM dblink_exec('two', 'COMMIT', false);
END
$$;

-- how many active flags fail to be evaluated: none does that was written by one session alone
CREATE FUNCTION failing() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(flag_key || ' ' || error_code, ', ' ORDER BY flag_key) FROM ff_evaluate_all('{"user_id": "u"}') WHERE error_code IS NOT NULL $$;
CREATE FUNCTION needs(key text) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_array(jsonb_build_object('flag', key, 'variant', 'on')) $$;
CREATE FUNCTION change(key text, what text) RETURNS text LANGUAGE sql AS $$ SELECT format('UPDATE ff.flags SET %s WHERE key = %L', what, key) $$;
CREATE PROCEDURE begin_anew() LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	UPDATE ff.flags SET state = 'active', enabled = true, requires = NULL, rules = NULL, variants = NULL;
	UPDATE ff.segments SET state = 'active';
	SET LOCAL session_replication_role = origin;
END
$$;
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'boolean', 'true'), ('b', 'boolean', 'true'), ('c', 'boolean', 'true');
INSERT INTO ff.segments (key, included) VALUES ('s', '["u"]');

CALL race(change('a', 'enabled = false'), change('b', 'enabled = false'));
SELECT is((SELECT count(*) FROM ff.flags WHERE NOT enabled), 2::bigint, 'two flags that have nothing to do with each other: both are changed');

CALL begin_anew();
CALL race(change('a', format('requires = %L', needs('b'))), change('b', format('requires = %L', needs('a'))));
SELECT is(failing(), NULL, 'two that are made to require each other');
CALL begin_anew();
CALL race(change('a', format('requires = %L', needs('b'))), change('b', format('requires = %L', needs('a'))), 'REPEATABLE READ');
SELECT is(failing(), NULL, 'in REPEATABLE READ');
CALL begin_anew();
CALL race(change('a', format('requires = %L', needs('b'))), change('b', format('requires = %L', needs('a'))), 'SERIALIZABLE');
SELECT is(failing(), NULL, 'in SERIALIZABLE');
CALL begin_anew();
CALL race(change('a', format('requires = %L', needs('c'))), change('c', 'state = ''archived'''));
SELECT is(failing(), NULL, 'one that is archived while another begins to require it');
CALL begin_anew();
CALL race(change('a', $$rules = '[{"if": {"segment": "s"}, "serve": "on"}]'$$), 'UPDATE ff.segments SET state = ''archived''');
SELECT is(failing(), NULL, 'a segment that is archived while a flag begins to use it');
CALL begin_anew();
CALL race(change('c', 'variants = ''{"yes": true}'''), change('a', format('requires = %L', needs('c'))));
SELECT is((SELECT count(*) FROM ff.flags a JOIN ff.flags c ON c.key = 'c' AND c.variants IS NOT NULL WHERE a.key = 'a' AND a.requires IS NOT NULL), 0::bigint,
	'a variant that is removed while another flag begins to require it');

SELECT * FROM finish();
