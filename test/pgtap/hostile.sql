-- Tables and triggers of people who mean no good, and a log that somebody has damaged: nothing of it
-- ends the server, runs with others' rights, or gets past the record.
\set ON_ERROR_STOP 1
CREATE EXTENSION ff;
SELECT plan(22);

CREATE TABLE loot (who text);
GRANT INSERT ON loot TO PUBLIC;
CREATE ROLE ff_test_operator;
GRANT CREATE ON SCHEMA public TO ff_test_operator;
GRANT EXECUTE ON FUNCTION ff_register(regclass, text, regclass), ff_unregister(text) TO ff_test_operator;
GRANT SELECT ON ff.flags, ff.segments TO ff_test_operator;
GRANT SELECT ON loot TO ff_test_operator;

---- what runs while a table is registered ----
SET ROLE ff_test_operator;
CREATE FUNCTION evil() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO loot VALUES (current_user); RETURN true; END $$;
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM evil(); RETURN new; END $$;
CREATE FUNCTION dropper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TABLE victim; RETURN new; END $$;
CREATE TABLE victim (LIKE ff.flags INCLUDING ALL);
CREATE TABLE helper (LIKE ff.segments INCLUDING ALL);
ALTER TABLE helper ALTER version DROP NOT NULL;
INSERT INTO helper (key, included, version, created_at, updated_at) VALUES ('s', '["u"]', NULL, now(), now());
CREATE TRIGGER d BEFORE UPDATE ON helper FOR EACH ROW EXECUTE FUNCTION dropper();
SELECT throws_like($$SELECT ff_register('victim', 'crash', 'helper')$$, '%could not open relation%', 'a trigger that drops the other table');
DROP TRIGGER d ON helper;
CREATE TRIGGER d BEFORE UPDATE ON helper FOR EACH ROW EXECUTE FUNCTION spy();
CREATE TABLE flags_of_mine (LIKE ff.flags INCLUDING ALL);
RESET ROLE;
SELECT lives_ok($$SELECT ff_register('flags_of_mine', 'mine', 'helper')$$, 'a superuser registers somebody''s tables');
SELECT results_eq('SELECT * FROM loot', $$VALUES ('ff_test_operator')$$, 'and their triggers run as their owner');
DELETE FROM loot;

---- policies and rules of a registered table ----
SET ROLE ff_test_operator;
INSERT INTO flags_of_mine (key, type, default_value) VALUES ('a', 'boolean', 'true');
ALTER TABLE flags_of_mine ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON flags_of_mine USING (evil());
GRANT SELECT ON flags_of_mine TO PUBLIC;
RESET ROLE;
CREATE ROLE ff_test_reader;
SET ROLE ff_test_reader;
SELECT lives_ok('SELECT * FROM ff.stale_flags', 'who reads ff.stale_flags');
RESET ROLE;
SELECT is_empty('SELECT * FROM loot', 'runs nobody''s policy');

---- names with a past ----
SET ROLE ff_test_operator;
CREATE TABLE other (LIKE ff.flags INCLUDING ALL);
RESET ROLE;
SELECT ff_create_namespace('secret') \g /dev/null
INSERT INTO ff.secret_flags (key, type, default_value) VALUES ('q', 'boolean', 'true');
SELECT ff_unregister('secret') \g /dev/null
SET ROLE ff_test_operator;
SELECT throws_ok($$SELECT ff_register('other', 'secret')$$, '42501', NULL, 'a name with a history is no operator''s to take');
SELECT lives_ok($$SELECT ff_register('other', 'fresh')$$, 'one without is');
RESET ROLE;

---- triggers that get in between ----
INSERT INTO ff.flags (key, type, default_value) VALUES ('b', 'boolean', 'true'), ('c', 'boolean', 'true');
CREATE FUNCTION immediately() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL IMMEDIATE; RETURN NULL; END $$;
CREATE TRIGGER "0first" AFTER UPDATE ON ff.flags FOR EACH ROW EXECUTE FUNCTION immediately();
UPDATE ff.flags SET owner = 'o' WHERE key = 'b';
DROP TRIGGER "0first" ON ff.flags;
SELECT results_eq($$SELECT action, version FROM ff_audit('b')$$, $$VALUES ('created', 1::bigint), ('updated', 2)$$, 'a change is recorded before it was noted');
CREATE FUNCTION takes_b() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM ff.flags WHERE key = 'b'; RETURN old; END $$;
CREATE TRIGGER takes_b BEFORE DELETE ON ff.flags FOR EACH ROW WHEN (old.key = 'c') EXECUTE FUNCTION takes_b();
SELECT ff_archive_flag('c') \g /dev/null
SELECT throws_ok($$SELECT ff_purge_flag('c')$$, '55000', NULL, 'a purge opens no way to delete another');
DROP TRIGGER takes_b ON ff.flags;
SELECT lives_ok($$SELECT ff_purge_flag('c')$$, 'nor does it stay open');
SELECT throws_ok($$DELETE FROM ff.flags WHERE key = 'b'$$, '55000', NULL, 'DELETE is refused after it');
CREATE FUNCTION spoils() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.owner = 'rules' THEN new.rules := '"bad"'; ELSE new.version := 77; END IF; RETURN new; END $$;
CREATE TRIGGER zzz_spoils BEFORE UPDATE ON ff.flags FOR EACH ROW EXECUTE FUNCTION spoils();
SELECT throws_ok($$UPDATE ff.flags SET owner = 'rules' WHERE key = 'b'; SET CONSTRAINTS ALL IMMEDIATE$$, '22023', NULL, 'a trigger that spoils what was checked');
SELECT throws_ok($$UPDATE ff.flags SET owner = 'version' WHERE key = 'b'; SET CONSTRAINTS ALL IMMEDIATE$$, '55000', NULL, 'or makes up a version');
DROP TRIGGER zzz_spoils ON ff.flags;
SELECT ok(valid, 'the log is whole') FROM ff_verify_events();

---- tables that go in other ways ----
CREATE TYPE flag_row AS (key text COLLATE "C", type text, description text, state text, enabled boolean, default_value jsonb, variants jsonb,
	overrides jsonb, rules jsonb, rollout jsonb, requires jsonb, bucketing jsonb, experiment jsonb, tags jsonb, owner text, expires_at timestamptz,
	version bigint, created_at timestamptz, updated_at timestamptz);
CREATE TABLE typed OF flag_row (PRIMARY KEY (key));
SELECT ff_register('typed', 'typed') \g /dev/null
DROP TYPE flag_row CASCADE;
SELECT is_empty($$SELECT FROM ff.namespaces WHERE name = 'typed'$$, 'a table that goes with its type ends its namespace');

---- a damaged log ----
BEGIN;
ALTER TABLE ff.events DISABLE TRIGGER ALL;
ALTER TABLE ff.events ALTER hash DROP NOT NULL;
UPDATE ff.events SET hash = NULL WHERE id = 2;
SELECT results_eq('SELECT valid, event_id FROM ff_verify_events()', 'VALUES (false, 2::bigint)', 'an event without a hash');
UPDATE ff.events SET hash = NULL WHERE id = (SELECT max(id) FROM ff.events);
SELECT throws_ok($$SET CONSTRAINTS ALL IMMEDIATE; UPDATE ff.flags SET owner = 'p' WHERE key = 'b'$$, 'XX001', NULL, 'a last event without one ends no server');
ROLLBACK;
BEGIN;
ALTER TABLE ff.events DROP COLUMN hash;
SELECT throws_ok('SELECT * FROM ff_verify_events()', '55000', NULL, 'a column that is gone');
ROLLBACK;
ALTER TABLE ff.events ADD COLUMN note text;
SELECT lives_ok($$UPDATE ff.flags SET owner = 'q' WHERE key = 'b'$$, 'a column more does no harm');
SELECT ok(valid, 'nor to the log') FROM ff_verify_events();
ALTER TABLE ff.events DROP COLUMN note;
SELECT lives_ok($$UPDATE ff.flags SET owner = 'r' WHERE key = 'b'$$, 'nor when it is gone again');
SELECT ok(valid, 'which leaves the log as it was') FROM ff_verify_events();

SELECT * FROM finish();
DROP OWNED BY ff_test_operator CASCADE;
DROP ROLE ff_test_operator;
DROP ROLE ff_test_reader;
