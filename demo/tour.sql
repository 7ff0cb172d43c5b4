--
-- demo/tour.sql: what ff does, in plain statements. Paste them into psql after "make run".
--
\set ON_ERROR_STOP on

\echo
\echo '-- This is what an application knows about user 6: the context of an evaluation.'
SELECT jsonb_pretty(context) AS context FROM users WHERE id = 6;

\echo '-- One evaluation, with its reason.'
SELECT value, variant_key, reason, rule_id, flag_version
FROM users, ff_evaluate('new-checkout', context) WHERE id = 6;

\echo '-- Each type has its function.'
SELECT ff_bool('new-checkout', context), ff_string('buy-button', context),
       ff_number('upload-limit-mb', context), ff_json('rate-limits') -> 'export' AS ff_json
FROM users WHERE id = 6;

\echo '-- All flags for one user.'
SELECT flag_key, value, reason FROM users, ff_evaluate_all(context) WHERE id = 6;

\echo '-- Who sees what: 100,000 users in one query.'
SELECT variant_key, reason, count(*)
FROM users, ff_evaluate('new-checkout', context)
GROUP BY variant_key, reason ORDER BY variant_key, reason;

\echo '-- A flag is changed inside a transaction, seen there ...'
BEGIN;
UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": 100}]' WHERE key = 'new-checkout';
SELECT ff_bool('new-checkout', context), count(*) FROM users GROUP BY 1 ORDER BY 1;
\echo '-- ... and gone after ROLLBACK.'
ROLLBACK;
SELECT ff_bool('new-checkout', context), count(*) FROM users GROUP BY 1 ORDER BY 1;

\echo '-- The kill switch: one UPDATE, and everybody has the default.'
UPDATE ff.flags SET enabled = false WHERE key = 'new-checkout';
SELECT value, reason, count(*)
FROM users, ff_evaluate('new-checkout', context) GROUP BY value, reason;
UPDATE ff.flags SET enabled = true WHERE key = 'new-checkout';

\echo
\echo '-- A lookup that fails does not fail the query: it answers with the fallback, and says why.'
SELECT value, reason, error_code, error_message
FROM ff_evaluate('new-chekout', '{"user_id": "user-6"}', fallback => 'false');

\echo '-- A definition that is wrong is refused, with the path to what is wrong.'
\set ON_ERROR_STOP off
UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": 60}, {"variant": "off", "weight": 50}]'
WHERE key = 'new-checkout';
\set ON_ERROR_STOP on

\echo
\echo '-- An experiment: who was shown what is noted, and written down every few seconds, or now.'
INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
('one-click', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}');
SELECT count(ff_bool('one-click', context)) FROM users WHERE id <= 20000;
SELECT FROM ff_flush_exposures();
SELECT variant_key, evaluations, unique_users FROM ff.exposure_counts
WHERE flag_key = 'one-click' ORDER BY variant_key;

\echo '-- Are users spread as configured? And who of them ordered something?'
SELECT variant_key, users, configured_share, actual_share, round(p_value::numeric, 3) AS p_value, warning
FROM ff.sample_ratio WHERE flag_key = 'one-click' ORDER BY variant_key;
SELECT variant_key, users, converted, round(conversion::numeric, 4) AS conversion, round(mean::numeric, 2) AS mean
FROM ff_experiment('one-click', 'orders', 'user_id', 'amount') ORDER BY variant_key;

\echo '-- Why does user 6 see what he sees?'
SELECT object, path, matched, detail
FROM users, ff_explain('new-checkout', context) WHERE id = 6 ORDER BY step;

\echo '-- Who changed it, when, and how? Every change is on record, whoever makes it.'
SELECT event_id, actor, action, version, changed FROM ff_audit('new-checkout');

\echo '-- The record is whole.'
SELECT valid, events FROM ff_verify_events();
