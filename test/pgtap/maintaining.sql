-- Upkeep: partitions are made and dropped, each by itself, so that what is in the way of one keeps the others from nothing.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SELECT plan(11);
SET LOCAL client_min_messages = error;
CREATE FUNCTION day(int) RETURNS text LANGUAGE sql AS $$ SELECT to_char(now() AT TIME ZONE 'UTC' + make_interval(days => $1), 'YYYYMMDD') $$;
CREATE FUNCTION put(who text, at timestamptz) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ff.exposures (namespace, flag_key, variant_key, user_id, exposed_at, reason) VALUES ('default', 'f', 'on', who, at, 'ROLLOUT') $$;

---- columns of others ----
ALTER TABLE ff.exposures ADD COLUMN shown_on date GENERATED ALWAYS AS ((exposed_at AT TIME ZONE 'UTC')::date) STORED, ADD COLUMN "my note" text;
SELECT put('today', now()), put('broken', now() + interval '3 days'), put('ancient', now() - interval '1 year') \g /dev/null
UPDATE ff.exposures SET "my note" = 'kept' WHERE user_id = 'today';

---- what is in the way ----
CREATE TABLE ff.exposures_a PARTITION OF ff.exposures FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
CREATE TABLE ff.exposures_b PARTITION OF ff.exposures FOR VALUES FROM ('2020-02-01') TO ('2020-03-01');
CREATE TABLE ff.exposures_c PARTITION OF ff.exposures FOR VALUES FROM ('2020-03-01') TO ('2020-04-01');
CREATE VIEW report AS SELECT user_id FROM ff.exposures_b;
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.user_id = 'broken' THEN RAISE 'held'; END IF; RETURN OLD; END $$;
CREATE TRIGGER hold BEFORE DELETE ON ff.exposures_default FOR EACH ROW EXECUTE FUNCTION hold();
SELECT results_eq('SELECT * FROM ff_maintain()', 'VALUES (8, 2, 1::bigint)', 'one partition can''t be made, one can''t be dropped: the others are');
SELECT is((SELECT to_regclass('ff.exposures_' || day(3))), NULL, 'nothing is left of what couldn''t be made');
SELECT is((SELECT tableoid::regclass::text FROM ff.exposures WHERE user_id = 'broken'), 'ff.exposures_default', '... its row is where it was');
SELECT is((SELECT tableoid::regclass::text FROM ff.exposures WHERE user_id = 'today'), 'ff.exposures_' || day(0), 'others have moved');
SELECT results_eq($$SELECT shown_on, "my note" FROM ff.exposures WHERE user_id = 'today'$$, $$VALUES ((now() AT TIME ZONE 'UTC')::date, 'kept')$$, '... with columns of others, and generated ones');
SELECT is((SELECT count(*) FROM ff.exposures WHERE user_id = 'ancient'), 0::bigint, 'old rows are deleted');
SELECT isnt(to_regclass('ff.exposures_b'), NULL, 'what a view depends on stays');

---- ... and goes when that is gone ----
DROP VIEW report;
DROP TRIGGER hold ON ff.exposures_default;
SELECT results_eq('SELECT * FROM ff_maintain()', 'VALUES (1, 1, 0::bigint)', 'the rest');
SELECT is((SELECT tableoid::regclass::text FROM ff.exposures WHERE user_id = 'broken'), 'ff.exposures_' || day(3), '... with the row');
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
CREATE TRIGGER never BEFORE DELETE ON ff.exposures_default FOR EACH STATEMENT EXECUTE FUNCTION never();
CREATE TABLE ff.exposures_d PARTITION OF ff.exposures FOR VALUES FROM ('2020-03-01') TO ('2020-04-01');
SELECT results_eq('SELECT * FROM ff_maintain()', 'VALUES (0, 1, 0::bigint)', 'rows that can''t be deleted keep no partition');
SET LOCAL transaction_read_only = on;
SELECT throws_ok('SELECT * FROM ff_maintain()', '25006');
SELECT * FROM finish();
ROLLBACK;
