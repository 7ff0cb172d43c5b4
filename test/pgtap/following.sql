-- For programs that follow the flags from outside: which event a change became, all definitions at once, what happened since.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(47);

---- ff_last_event ----
SELECT is((SELECT event_id FROM ff_last_event()), NULL, 'null while nothing was written');
SELECT ff_create_flag('{"key": "f", "type": "boolean", "default_value": false}') \g /dev/null
SELECT is((SELECT event_id FROM ff_last_event()), NULL, 'null while the event waits for the commit');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT results_eq('SELECT * FROM ff_last_event()', 'SELECT id, hash FROM ff.events ORDER BY id DESC LIMIT 1', 'number and hash, after SET CONSTRAINTS');
SELECT ff_update_flag('f', '{"owner": "a"}'), ff_create_segment('{"key": "s", "included": ["u"]}') \g /dev/null
SELECT is((SELECT event_id FROM ff_last_event()), 3::bigint, 'the last of several, a segment''s too');
SAVEPOINT a;
SELECT ff_update_flag('f', '{"owner": "b"}') \g /dev/null
SELECT is((SELECT event_id FROM ff_last_event()), 4::bigint, 'in a savepoint');
SAVEPOINT b;
SELECT ff_update_flag('f', '{"owner": "c"}') \g /dev/null
RELEASE b;
SELECT is((SELECT event_id FROM ff_last_event()), 5::bigint, '... in one within it');
ROLLBACK TO a;
SELECT results_eq('SELECT * FROM ff_last_event()', 'SELECT id, hash FROM ff.events WHERE id = 3', 'never one that was rolled back');
SELECT ff_update_flag('f', '{"owner": "d"}') \g /dev/null
SELECT results_eq('SELECT * FROM ff_last_event()', 'SELECT id, hash FROM ff.events WHERE id = 4', '... but the one that has its number now');
DO $$ BEGIN PERFORM ff_update_flag('f', '{"owner": "e"}'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END $$;
SELECT is((SELECT event_id FROM ff_last_event()), 4::bigint, 'an exception takes its events back');
UPDATE ff.flags SET owner = owner;
SELECT is((SELECT event_id FROM ff_last_event()), 4::bigint, 'a change of nothing is none');
CREATE ROLE ff_test_follower;
SET LOCAL ROLE ff_test_follower;
SELECT is((SELECT event_id FROM ff_last_event()), 4::bigint, 'everybody may ask');
RESET ROLE;

---- ff_documents ----
SELECT ff_create_namespace('b'), ff_create_namespace('B') \g /dev/null
SELECT ff_create_flag('{"key": "Z", "type": "boolean", "default_value": false}'), ff_create_flag('{"key": "a", "type": "boolean", "default_value": false}'),
	ff_archive_flag('a'), ff_create_segment('{"key": "old", "included": ["u"]}'), ff_archive_segment('old'),
	ff_create_flag('{"key": "n", "type": "boolean", "default_value": false}', 'B') \g /dev/null
SELECT results_eq('SELECT namespace, object, key, version FROM ff_documents()',
	$$VALUES ('B', 'flag', 'n', 1::bigint), ('default', 'flag', 'Z', 1), ('default', 'flag', 'a', 2), ('default', 'flag', 'f', 3), ('default', 'segment', 'old', 2), ('default', 'segment', 's', 1)$$,
	'flags and segments of all namespaces, archived too, in the order of bytes');
SELECT is_empty($$SELECT * FROM ff_documents() WHERE definition IS DISTINCT FROM CASE object WHEN 'flag' THEN ff_flag(key, namespace) ELSE ff_segment(key, namespace) END$$, 'as ff_flag and ff_segment give them');
SELECT results_eq($$SELECT * FROM ff_documents('B')$$, $$SELECT * FROM ff_documents() WHERE namespace = 'B'$$, 'those of one namespace');
SELECT is_empty($$SELECT * FROM ff_documents('b')$$, 'of an empty one');
SELECT throws_ok($$SELECT * FROM ff_documents('nowhere')$$, '42704');
SELECT is((SELECT string_agg(namespace || ' ' || channel, ',') FROM ff_namespaces()), 'B ff_B,b ff_b,default ff_default', 'namespaces, empty ones too');
INSERT INTO ff.flags (key, type, default_value) SELECT 'many' || g, 'boolean', 'false' FROM generate_series(1, 1100) g;
SELECT is((SELECT count(*) FROM ff_documents('default')), 1105::bigint, 'more than are fetched at once');

SET LOCAL ROLE ff_test_follower;
SELECT is_empty('SELECT * FROM ff_namespaces()', 'no namespace for who may read nothing');
SELECT is_empty('SELECT * FROM ff_documents()', 'nothing for who may read nothing');
SELECT throws_ok($$SELECT * FROM ff_documents('default')$$, '42501', NULL, '... who is told where he asks for a namespace');
SELECT is_empty('SELECT * FROM ff_events_after(0)', '... nor events');
SELECT is((SELECT event_id FROM ff_event_head()), NULL, '... nor a head');
RESET ROLE;
SELECT ff_grant('ff_test_follower', 'read', 'B') \g /dev/null
SET LOCAL ROLE ff_test_follower;
SELECT results_eq('SELECT * FROM ff_namespaces()', $$VALUES ('B', 'ff_B')$$, 'those that may be read are listed');
SELECT results_eq('SELECT namespace, key FROM ff_documents()', $$VALUES ('B', 'n')$$, 'with read on one namespace: what is in it');
SELECT results_eq('SELECT namespace, key FROM ff_events_after(0)', $$VALUES ('B', 'n')$$, '... and its events');
SELECT is((SELECT h::text FROM ff_event_head() h), (SELECT row(event_id, hash)::text FROM ff_events_after(0)), '... and the last of them as the head');
RESET ROLE;
GRANT SELECT ON ff.flags TO ff_test_follower;
SET LOCAL ROLE ff_test_follower;
SELECT is((SELECT count(DISTINCT (namespace, object)) FROM ff_documents()), 2::bigint, 'who may read flags and no segments is shown no segments');
SELECT is((SELECT string_agg(DISTINCT object, ' ') FROM ff_events_after(0, NULL)), 'flag', '... nor their events');
SELECT throws_ok($$SELECT * FROM ff_documents('default')$$, '42501', NULL, '... and told so');
RESET ROLE;
SELECT ff_grant('ff_test_follower', 'read') \g /dev/null

---- events ----
SET LOCAL ROLE ff_test_follower;
SELECT is((SELECT count(*) FROM ff_events_after(0)), 500::bigint, 'events, 500 at once');
RESET ROLE;
SELECT ff_create_flag('{"key": "n", "type": "boolean", "default_value": false}', 'b') \g /dev/null
GRANT SELECT ON ff.events TO ff_test_follower;
SELECT results_eq('SELECT * FROM ff_events_after(2, 3)', $$SELECT id, occurred_at, namespace COLLATE "default", object COLLATE "default", key COLLATE "default", action, actor, comment, version, old_value, new_value, hash FROM ff.events WHERE id BETWEEN 3 AND 5$$, 'as they are in the log');
SELECT results_eq('SELECT * FROM ff_event_head()', 'SELECT id, hash FROM ff.events ORDER BY id DESC LIMIT 1', 'the head');
SET LOCAL ROLE ff_test_follower;
SELECT results_eq('SELECT event_id FROM ff_events_after(0, NULL)', 'SELECT id FROM ff.events ORDER BY id', 'who may read the log gets all of it');
RESET ROLE; REVOKE SELECT ON ff.events FROM ff_test_follower; SET LOCAL ROLE ff_test_follower;
SELECT is((SELECT count(*) FROM ff_events_after(0, NULL) WHERE namespace = 'b'), 0::bigint, 'who may not, what he may read');
SELECT throws_ok('SELECT * FROM ff.events', '42501');
SELECT throws_ok('SELECT * FROM ff_events_after(NULL)', '22004');
SELECT throws_ok('SELECT * FROM ff_events_after(0, -1)', '2201W');
SELECT is_empty('SELECT * FROM ff_events_after(0, 0)', 'limit 0 is none');
SELECT is_empty('SELECT * FROM ff_events_after((SELECT event_id FROM ff_event_head()))', 'none after the head');

---- policies ----
RESET ROLE;
CREATE POLICY mine ON ff.flags TO ff_test_follower USING (key = 'f');
ALTER TABLE ff.flags ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE ff_test_follower;
SELECT is((SELECT string_agg(key, ' ') FROM ff_documents('default') WHERE object = 'flag'), 'f', 'a policy: what it lets through');
SELECT is((SELECT string_agg(key, ' ') FROM ff_documents() WHERE object = 'flag'), 'n f', '... among all namespaces, too');
SELECT is_empty($$SELECT * FROM ff_events_after(0, NULL) WHERE namespace = 'default' AND object = 'flag'$$, '... and no events, because those of hidden flags would be among them');
RESET ROLE;
ALTER TABLE ff.flags DISABLE ROW LEVEL SECURITY;

---- tables that lack something, or are another's ----
CREATE TABLE own (LIKE ff.flags INCLUDING ALL);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT ff_register('own', 'own') \g /dev/null
SELECT ff_create_flag('{"key": "n", "type": "boolean", "default_value": false}', 'own') \g /dev/null
SELECT is((SELECT count(*) FROM ff_documents('own')), 1::bigint, 'tables of one''s own');
ALTER TABLE own DROP COLUMN tags;
SELECT is((SELECT count(*) FROM ff_documents() WHERE namespace = 'own'), 0::bigint, 'a table that can''t hold flags is left out');
SELECT throws_ok($$SELECT * FROM ff_documents('own')$$, '55000', NULL, '... and said to be so where it is asked for');
DROP TABLE own;
SELECT is((SELECT count(*) FROM ff_documents() WHERE namespace = 'own'), 0::bigint, 'a namespace that is gone is gone');

SELECT * FROM finish();
ROLLBACK;
