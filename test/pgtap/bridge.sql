-- What doc/security.md grants a bridge is what a bridge needs.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(16);
SELECT ff_create_namespace('staging'), ff_create_namespace('secret') \g /dev/null
SELECT ff_create_flag('{"key": "hidden", "type": "boolean", "default_value": true}', 'secret') \g /dev/null
SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED;
CREATE ROLE ff_test_bridge LOGIN;
SELECT ff_grant('ff_test_bridge', 'admin'), ff_grant('ff_test_bridge', 'admin', 'staging') \g /dev/null
SET LOCAL ROLE ff_test_bridge;

SELECT lives_ok('LISTEN ff_default', 'it listens');
SELECT is((SELECT string_agg(channel, ' ') FROM ff_namespaces()), 'ff_default ff_staging', 'it knows where');
SELECT ff_create_flag('{"key": "f", "type": "boolean", "default_value": false}', 'staging') \g /dev/null
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is((SELECT event_id FROM ff_last_event()), 2::bigint, 'it writes, and says which event that was');
SELECT results_eq('SELECT namespace, key, definition FROM ff_documents()', $$SELECT 'staging', 'f', ff_flag('f', 'staging')$$, 'it loads what it serves');
SELECT results_eq('SELECT event_id, new_value FROM ff_events_after(0)', $$SELECT 2::bigint, ff_flag('f', 'staging')$$, '... and what happened there');
SELECT is((SELECT event_id FROM ff_event_head()), 2::bigint, '... up to here');
SELECT lives_ok($$SELECT ff_update_segment('s', '{"description": "x"}') FROM (SELECT ff_create_segment('{"key": "s", "included": ["u"]}')) c$$, 'segments, too');
SELECT isnt_empty($$SELECT * FROM ff_audit('f', namespace => 'staging')$$, 'history');
SELECT ff_archive_flag('f', namespace => 'staging') \g /dev/null
SELECT lives_ok($$SELECT ff_purge_flag('f', namespace => 'staging')$$, 'purging');
SELECT is((SELECT recorded FROM ff_record_exposures('b', '[{"flag_key": "f", "variant_key": "on", "user_id": "u", "reason": "ROLLOUT"}]', 'staging')), 1::bigint, 'exposures of what it has purged');
SELECT throws_ok('SELECT * FROM ff_exposures_after(0)', '42501', NULL, 'user ids it doesn''t see');
SELECT throws_ok(sql, '42501', NULL, 'nor ' || sql) FROM unnest(ARRAY['SELECT * FROM ff.events', 'SELECT * FROM ff.exposures', $$SELECT ff_flag('hidden', 'secret')$$]) sql;
RESET ROLE; GRANT SELECT ON ff.exposures TO ff_test_bridge; SET LOCAL ROLE ff_test_bridge;
SELECT is((SELECT user_id FROM ff_exposures_after(0)), 'u', 'unless it is to forward them');
SELECT is(ff_move_exposure_cursor('c', 0, 1), true, '... from a cursor');

SELECT * FROM finish();
ROLLBACK;
