--
-- demo/tour.sql: what ff does, in plain statements. Paste them into psql after "make run".
--
\set ON_ERROR_STOP on

\echo
\echo '-- One evaluation, with its reason.'
SELECT value, variant_key, reason, rule_id, flag_version
FROM users, ff_evaluate('new-checkout', context) WHERE id = 4001;

\echo '-- Who sees what: all 100,000 users in one query.'
SELECT variant_key, reason, count(*)
FROM users, ff_evaluate('new-checkout', context)
GROUP BY variant_key, reason ORDER BY count(*) DESC;

\echo '-- Every type has its function.'
SELECT ff_bool('new-checkout', context), ff_string('buy-button', context),
       ff_number('upload-limit-mb', context), ff_json('rate-limits', context) -> 'export' AS export
FROM users WHERE id = 4001;

\echo '-- A flag changed inside a transaction is seen there ...'
BEGIN;
UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": 100}]' WHERE key = 'new-checkout';
SELECT variant_key, count(*) FROM users, ff_evaluate('new-checkout', context) GROUP BY variant_key;
\echo '-- ... and is gone after ROLLBACK.'
ROLLBACK;
SELECT variant_key, count(*) FROM users, ff_evaluate('new-checkout', context) GROUP BY variant_key;

\echo '-- The kill switch: one UPDATE, and everybody has the default.'
UPDATE ff.flags SET enabled = false WHERE key = 'new-checkout';
SELECT value, reason, count(*)
FROM users, ff_evaluate('new-checkout', context)
GROUP BY value, reason;
UPDATE ff.flags SET enabled = true WHERE key = 'new-checkout';

\echo '-- A lookup that fails never fails the query: it answers with the fallback, and says why.'
SELECT value, reason, error_code, error_message
FROM ff_evaluate('new-chekout', '{"user_id": "user-1"}', fallback => 'false');

\echo '-- A definition that is wrong is refused, with the path to what is wrong.'
\set ON_ERROR_STOP off
UPDATE ff.flags
SET rules = '[{"if": {"attr": "plan", "op": "equal", "value": "pro"}, "serve": "on"}]'
WHERE key = 'new-checkout';
\set ON_ERROR_STOP on

\echo
\echo '-- Why does this user see what he sees?'
SELECT step, stage, object, path, matched, detail
FROM users, ff_explain('new-checkout', context) WHERE id = 4001 ORDER BY step;
