-- Tables that another session has locked: evaluation waits for a bounded time and then answers, and
-- what is written meanwhile is checked as it is at any other time.
\set ON_ERROR_STOP 1
CREATE EXTENSION ff;
CREATE EXTENSION dblink;
SELECT plan(19);

INSERT INTO ff.segments (key, included) VALUES ('s', '["u"]');
INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('f', 'boolean', 'false', '[{"if": {"segment": "s"}, "serve": "on"}]');

-- Has a new session run a statement that returns one text, and notes how long it took. What waits
-- for ever fails with statement_timeout.
SELECT set_config('ff_test.connection', format('host=%s port=%s dbname=%s user=%s', :'HOST', :'PORT', current_database(), current_user), false) \g /dev/null
CREATE FUNCTION elsewhere(sql text, lock_timeout text DEFAULT '0', OUT answer text, OUT seconds float8) LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz;
BEGIN
	PERFORM dblink_connect('other', current_setting('ff_test.connection') ||
		format(' options=''-c statement_timeout=6s -c lock_timeout=%s''', lock_timeout));
	start := clock_timestamp();
	BEGIN
		answer := (SELECT a FROM dblink('other', sql) t (a text));
	EXCEPTION WHEN query_canceled OR OTHERS THEN
		answer := SQLSTATE;
	END;
	seconds := extract(epoch FROM clock_timestamp() - start);
	PERFORM dblink_disconnect('other');
END
$$;
\set ask '$$SELECT concat_ws('' '', value, reason, error_code) FROM ff_evaluate(''f'', ''{"user_id": "u"}'', ''"fallback"'')$$'
\set ask_often '$$SELECT count(*) FROM generate_series(1, 1000) g WHERE ff_bool(''f'', jsonb_build_object(''g'', g), true)$$'
\set archive '$$UPDATE ff.segments SET state = ''archived'' WHERE key = ''s'' RETURNING ''archived''$$'
\set insert '$$INSERT INTO ff.flags (key, type, default_value, rules) VALUES (''new'', ''boolean'', ''false'', ''[{"if": {"segment": "s"}, "serve": "on"}]'') RETURNING ''inserted''$$'

SELECT is((SELECT answer FROM elsewhere(:ask)), 'true RULE_MATCH', 'nothing is locked');
BEGIN;
LOCK TABLE ff.flags IN EXCLUSIVE MODE;
SELECT is((SELECT answer FROM elsewhere(:ask)), 'true RULE_MATCH', 'a lock that lets others read');
ROLLBACK;

---- evaluation ----
BEGIN;
ALTER TABLE ff.flags ADD COLUMN extra text;
SELECT * FROM elsewhere(:ask) \gset
SELECT is(text :'answer', '"fallback" ERROR_FALLBACK PROVIDER_NOT_READY', 'the flags are locked: the fallback');
SELECT ok(:seconds BETWEEN 0.9 AND 3, 'after a second, where lock_timeout says nothing');
SELECT * FROM elsewhere(:ask_often, '100ms') \gset
SELECT is(text :'answer', '1000', 'the fallback for each of a thousand rows');
SELECT ok(:seconds < 3, 'that waited once');
SELECT ok(ff_bool('f', '{"user_id": "u"}'), 'who has the lock can evaluate');
ROLLBACK;
BEGIN;
LOCK TABLE ff.segments IN ACCESS EXCLUSIVE MODE;
SELECT * FROM elsewhere(:ask, '100ms') \gset
SELECT is(text :'answer', '"fallback" ERROR_FALLBACK PROVIDER_NOT_READY', 'the segments are');
SELECT ok(:seconds < 2, 'as long as lock_timeout says');
SELECT * FROM elsewhere(:ask_often, '100ms') \gset
SELECT is(text :'answer', '1000', 'and a thousand rows');
SELECT ok(:seconds < 3, 'wait once');
ROLLBACK;
BEGIN;
LOCK TABLE ff.namespaces IN ACCESS EXCLUSIVE MODE;
SELECT is((SELECT answer FROM elsewhere(:ask, '100ms')), '"fallback" ERROR_FALLBACK PROVIDER_NOT_READY', 'the table of namespaces is');
SELECT * FROM elsewhere(:ask_often, '100ms') \gset
SELECT is(text :'answer', '1000', 'and a thousand rows');
SELECT ok(:seconds < 3, 'wait once');
ROLLBACK;
SELECT is((SELECT answer FROM elsewhere(:ask)), 'true RULE_MATCH', 'all are free again');

---- writing ----
-- To wait is right, and so is to fail for the lock. To go on as if nothing were there is not.
BEGIN;
LOCK TABLE ff.flags IN ACCESS EXCLUSIVE MODE;
SELECT isnt((SELECT answer FROM elsewhere(:archive, '100ms')), 'archived', 'a segment is not archived while the flags that use it can''t be read');
ROLLBACK;
UPDATE ff.segments SET state = 'active';
BEGIN;
LOCK TABLE ff.segments IN ACCESS EXCLUSIVE MODE;
SELECT isnt((SELECT answer FROM elsewhere(:insert, '100ms')), '23503', 'a segment that can''t be read is not one that does not exist');
ROLLBACK;
SELECT ok((SELECT answer FROM elsewhere(:insert)) IN ('inserted', '23505'), 'without the lock the flag is taken');
SELECT ok(ff_bool('f', '{"user_id": "u"}'), 'and what was there is whole');

SELECT * FROM finish();
