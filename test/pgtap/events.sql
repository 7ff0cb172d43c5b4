-- The event log: what is recorded, that it can't be changed, and that it shows where somebody did.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- events are written at once
SELECT plan(78);
CREATE FUNCTION head() RETURNS bigint LANGUAGE sql AS 'SELECT COALESCE(max(id), 0) FROM ff.events';

---- what is recorded ----
SELECT is(head(), 0::bigint, 'a new log is empty');
SELECT results_eq('SELECT valid, events, event_id, problem, head_id, head_hash FROM ff_verify_events()',
	$$VALUES (true, 0::bigint, NULL::bigint, NULL::text, 0::bigint, decode(repeat('00', 32), 'hex'))$$, 'and whole');
SET LOCAL application_name = 'the app';
INSERT INTO ff.flags (key, type, default_value) VALUES ('a', 'boolean', 'false');
UPDATE ff.flags SET description = 'd' WHERE key = 'a';
UPDATE ff.flags SET enabled = false WHERE key = 'a';
UPDATE ff.flags SET enabled = true WHERE key = 'a';
UPDATE ff.flags SET state = 'archived' WHERE key = 'a';
UPDATE ff.flags SET state = 'active' WHERE key = 'a';
UPDATE ff.flags SET state = 'archived', enabled = false, description = 'e' WHERE key = 'a';
SELECT ff_purge_flag('a') \g /dev/null
INSERT INTO ff.segments (key, included) VALUES ('a', '["u"]');
UPDATE ff.segments SET included = '["v"]' WHERE key = 'a';
UPDATE ff.segments SET state = 'archived' WHERE key = 'a';
UPDATE ff.segments SET state = 'active' WHERE key = 'a';
SELECT ff_archive_segment('a'), ff_purge_segment('a') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', id, object, action, version), E'\n' ORDER BY id) FROM ff.events),
'1 flag created 1
2 flag updated 2
3 flag disabled 3
4 flag enabled 4
5 flag archived 5
6 flag restored 6
7 flag archived 7
8 flag purged 7
9 segment created 1
10 segment updated 2
11 segment archived 3
12 segment restored 4
13 segment archived 5
14 segment purged 5', 'every action has its word; numbers are without a gap');
SELECT is((SELECT string_agg(format('%s %s', e.id, problem), ', ') FROM ff.events e, LATERAL (VALUES
	('namespace', namespace = 'default'), ('key', key = 'a'), ('actor', actor = session_user), ('role', session_role = session_user),
	('address', client_address IS NOT DISTINCT FROM inet_client_addr()), ('application', application_name = 'the app'), ('comment', comment IS NULL),
	('time', occurred_at BETWEEN now() AND clock_timestamp()), ('hash', length(hash) = 32),
	('old', (old_value IS NULL) = (action = 'created')), ('new', (new_value IS NULL) = (action = 'purged'))) c(problem, holds) WHERE holds IS NOT TRUE), NULL, 'all other columns');
SELECT ok(bool_and(b.old_value = a.new_value), 'what an event found is what the one before left') FROM ff.events a JOIN ff.events b ON b.id = a.id + 1 AND b.object = a.object;
SELECT ok(bool_and(b.occurred_at >= a.occurred_at), 'time goes on with the numbers') FROM ff.events a JOIN ff.events b ON b.id = a.id + 1;
INSERT INTO ff.flags (key, type, default_value, version) VALUES ('a', 'boolean', 'true', 1);
SELECT is((SELECT version FROM ff.flags WHERE key = 'a'), 8::bigint, 'versions go on after a purge');
SELECT is((SELECT concat_ws(' ', action, version) FROM ff.events WHERE id = head()), 'created 8', 'also in the log');

---- a transaction with several changes ----
SET CONSTRAINTS ALL DEFERRED;
CREATE TEMP TABLE start AS SELECT head() AS id;
SET LOCAL ff.actor = 'ann'; SET LOCAL ff.comment = 'first';
UPDATE ff.flags SET description = '1' WHERE key = 'a';
SET LOCAL ff.actor = 'bob'; SET LOCAL ff.comment = 'second';
UPDATE ff.flags SET description = '2' WHERE key = 'a';
SAVEPOINT s;
UPDATE ff.flags SET description = 'rolled back' WHERE key = 'a';
ROLLBACK TO s;
SET LOCAL ff.comment = '';
UPDATE ff.flags SET description = '3', enabled = false WHERE key = 'a';
RESET ff.actor;
SELECT is(head(), (SELECT id FROM start), 'nothing is recorded before the end');
SELECT throws_ok('SELECT * FROM ff_verify_events()', '55000', NULL, 'nor is the log judged');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is((SELECT string_agg(concat_ws(' ', action, version, replace(actor, session_user, 'me'), comment, old_value ->> 'description', '>', new_value ->> 'description'), E'\n' ORDER BY id) FROM ff.events WHERE id > (SELECT id FROM start)),
'updated 9 ann first > 1
updated 10 bob second 1 > 2
disabled 11 bob 2 > 3', 'each change is an event, with actor and comment as they were then');
CREATE ROLE ff_test_writer;
GRANT SELECT, INSERT, UPDATE ON ff.flags TO ff_test_writer;
SET LOCAL ROLE ff_test_writer;
UPDATE ff.flags SET description = '4' WHERE key = 'a';
RESET ROLE;
SELECT is((SELECT actor || ' ' || session_role FROM ff.events WHERE id = head()), session_user || ' ' || session_user, 'SET ROLE does not change who it was');
UPDATE start SET id = head();
UPDATE ff.flags SET description = '4', version = 7, created_at = now() WHERE key = 'a';
UPDATE ff.flags SET key = key;
SELECT is(head(), (SELECT id FROM start), 'an UPDATE that changes nothing is no event');
INSERT INTO ff.flags (key, type, default_value) VALUES ('c', 'boolean', 'true') ON CONFLICT DO NOTHING;
INSERT INTO ff.flags (key, type, default_value) VALUES ('c', 'boolean', 'true') ON CONFLICT DO NOTHING;
INSERT INTO ff.flags (key, type, default_value) VALUES ('c', 'boolean', 'true') ON CONFLICT (key) DO UPDATE SET default_value = 'false';
SELECT is((SELECT string_agg(action, ' ' ORDER BY id) FROM ff.events WHERE key = 'c'), 'created updated', 'ON CONFLICT records what it did');
INSERT INTO ff.flags (key, type, default_value, description, tags) VALUES ('text', 'string', '"ü, 3:x,N,"', E'ü\n\t"\\', '["😀"]');
SET LOCAL ff.comment = 'ünïcode, 5:N,'; SET LOCAL application_name = '';
UPDATE ff.flags SET description = NULL, expires_at = '2030-01-01Z' WHERE key = 'text';
RESET ff.comment;

---- the hash ----
-- as it is said above ff_hash_event in src/ff_event.c
CREATE FUNCTION part(t text) RETURNS bytea LANGUAGE sql AS $$
	SELECT convert_to(COALESCE(octet_length(t) || ':' || t || ',', 'N,'), 'UTF8') $$;
CREATE FUNCTION hash_of(e ff.events, previous bytea) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(previous || part(e.id::text) || part((extract(epoch FROM e.occurred_at) * 1000000)::bigint::text) ||
		part(e.namespace) || part(e.object) || part(e.key) || part(e.action) || part(e.actor) || part(e.session_role) ||
		part(CASE WHEN e.client_address IS NOT NULL THEN e.client_address::inet::text END) || part(e.application_name) || part(e.comment) ||
		part(e.version::text) || part(e.old_value::text) || part(e.new_value::text)) $$;
SELECT is_empty($$SELECT id FROM ff.events e WHERE hash IS DISTINCT FROM hash_of(e,
	COALESCE((SELECT hash FROM ff.events p WHERE p.id = e.id - 1), decode(repeat('00', 32), 'hex')))$$, 'every hash is what its formula says');
SELECT ok(valid AND events = head() AND event_id IS NULL AND problem IS NULL AND head_id = head() AND head_hash = (SELECT hash FROM ff.events WHERE id = head()),
	'a log that is whole, and its head') FROM ff_verify_events();

---- append-only ----
SELECT throws_ok(sql, '55000', NULL, sql) FROM unnest(ARRAY['UPDATE ff.events SET actor = ''x''', 'DELETE FROM ff.events WHERE id = 1', 'TRUNCATE ff.events',
	'UPDATE ff.events SET id = id']) sql;
SET LOCAL session_replication_role = replica;
SELECT throws_ok(sql, '55000', NULL, 'under session_replication_role = replica: ' || sql) FROM unnest(ARRAY['UPDATE ff.events SET actor = ''x''', 'DELETE FROM ff.events WHERE id = 1', 'TRUNCATE ff.events']) sql;
RESET session_replication_role;
SET LOCAL ROLE ff_test_writer;
SELECT throws_ok(sql, '42501', NULL, 'by a role: ' || sql) FROM unnest(ARRAY['SELECT * FROM ff.events', 'UPDATE ff.events SET actor = ''x''', 'DELETE FROM ff.events', 'TRUNCATE ff.events',
	'INSERT INTO ff.events SELECT 1000', 'ALTER TABLE ff.events DISABLE TRIGGER ALL', 'DROP TABLE ff.events', 'SELECT * FROM ff_verify_events()']) sql;
RESET ROLE;

---- what a superuser does behind the triggers' back ----
-- Runs it with the triggers off, asks whether the log is whole, and takes it back.
CREATE FUNCTION tampered(sql text, OUT valid boolean, OUT events bigint, OUT event_id bigint, OUT problem text, OUT head_id bigint) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		ALTER TABLE ff.events DISABLE TRIGGER USER;
		ALTER TABLE ff.flags DISABLE TRIGGER USER;
		ALTER TABLE ff.segments DISABLE TRIGGER USER;
		EXECUTE sql;
		SELECT v.valid, v.events, v.event_id, v.problem, v.head_id INTO valid, events, event_id, problem, head_id FROM ff_verify_events() v;
		RAISE SQLSTATE 'XX999';
	EXCEPTION WHEN SQLSTATE 'XX999' THEN
	END;
END $$;
SELECT ok(NOT valid AND event_id = id AND head_id = id - 1, format('%s: event %s, %s', sql, event_id, problem))
FROM (VALUES
	('UPDATE ff.events SET actor = ''x'' WHERE id = 1', 1), ('UPDATE ff.events SET actor = ''x'' WHERE id = 7', 7), ('UPDATE ff.events SET actor = ''x'' WHERE id = head()', head()),
	('UPDATE ff.events SET occurred_at = occurred_at + ''1 microsecond'' WHERE id = 7', 7), ('UPDATE ff.events SET namespace = ''x'' WHERE id = 7', 7),
	('UPDATE ff.events SET object = ''segment'' WHERE id = 7', 7), ('UPDATE ff.events SET key = ''x'' WHERE id = 7', 7), ('UPDATE ff.events SET action = ''updated'' WHERE id = 7', 7),
	('UPDATE ff.events SET session_role = ''x'' WHERE id = 7', 7), ('UPDATE ff.events SET client_address = ''10.0.0.1'' WHERE id = 7', 7),
	('UPDATE ff.events SET application_name = NULL WHERE id = 7', 7), ('UPDATE ff.events SET comment = ''x'' WHERE id = 7', 7), ('UPDATE ff.events SET comment = '''' WHERE id = 7', 7),
	('UPDATE ff.events SET version = 1 WHERE id = 7', 7), ('UPDATE ff.events SET old_value = NULL WHERE id = 7', 7),
	('UPDATE ff.events SET new_value = new_value || ''{"owner": "x"}'' WHERE id = 7', 7), ('UPDATE ff.events SET hash = sha256(hash) WHERE id = 7', 7),
	('UPDATE ff.events SET hash = ''\x'' WHERE id = 7', 7),
	('UPDATE ff.events SET actor = session_role || application_name, session_role = '''' WHERE id = 7', 7),
	('DELETE FROM ff.events WHERE id = 1', 1), ('DELETE FROM ff.events WHERE id = 7', 7), ('DELETE FROM ff.events WHERE id IN (7, 8, 12)', 7),
	('DELETE FROM ff.events WHERE id = head()', head()), ('DELETE FROM ff.events WHERE id > 7', 8), ('TRUNCATE ff.events', 1),
	('DELETE FROM ff.events WHERE id = 7; UPDATE ff.events SET id = id - 1000000 WHERE id > 7; UPDATE ff.events SET id = id + 999999 WHERE id < 0', 7),
	('INSERT INTO ff.events SELECT head() + 1, occurred_at, namespace, object, key, action, actor, session_role, client_address, application_name, comment, version, old_value, new_value, hash FROM ff.events WHERE id = 3', head() + 1),
	('UPDATE ff.events SET id = id - 1000000 WHERE id > 7; UPDATE ff.events SET id = id + 1000001 WHERE id < 0; INSERT INTO ff.events SELECT 8, occurred_at, namespace, object, key, action, actor, session_role, client_address, application_name, comment, version, old_value, new_value, hash FROM ff.events WHERE id = 3', 8),
	('INSERT INTO ff.events SELECT head() + 5, occurred_at, namespace, object, key, action, actor, session_role, client_address, application_name, comment, version, old_value, new_value, hash FROM ff.events WHERE id = 3', head() + 1),
	('INSERT INTO ff.events SELECT -1, occurred_at, namespace, object, key, action, actor, session_role, client_address, application_name, comment, version, old_value, new_value, hash FROM ff.events WHERE id = 3', 1),
	('UPDATE ff.events SET id = 7000 - id WHERE id IN (7, 8); UPDATE ff.events SET id = 15 - (7000 - id) WHERE id > 6000', 7)) t(sql, id),
	tampered(t.sql);
SELECT ok(NOT valid AND event_id = head() + 1 AND problem LIKE says, format('%s: event %s, %s', sql, event_id, problem))
FROM (VALUES
	('UPDATE ff.flags SET description = ''x'' WHERE key = ''c''', '%flag "c"%'), ('UPDATE ff.flags SET version = 1000 WHERE key = ''c''', '%flag "c"%'),
	('UPDATE ff.flags SET updated_at = ''2001-01-01'' WHERE key = ''c''', '%flag "c"%'), ('DELETE FROM ff.flags WHERE key = ''c''', '%flag "c"%'),
	('INSERT INTO ff.flags SELECT ''z'', type, description, state, enabled, default_value, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, now(), now() FROM ff.flags WHERE key = ''c''', '%flag "z"%'),
	('INSERT INTO ff.segments VALUES (''z'', NULL, ''active'', NULL, ''["u"]'', NULL, 1, now(), now())', '%segment "z"%'),
	('TRUNCATE ff.flags', '%flag "a"%')) t(sql, says), tampered(t.sql);
SELECT ok(NOT valid AND event_id = 8, 'with a new hash that fits, the next one does not: ' || COALESCE(problem, 'none')) FROM tampered(
	'UPDATE ff.events e SET actor = ''x'', hash = hash_of(ROW(e.id, e.occurred_at, e.namespace, e.object, e.key, e.action, ''x'', e.session_role, e.client_address, e.application_name, e.comment, e.version, e.old_value, e.new_value, e.hash)::ff.events, (SELECT hash FROM ff.events WHERE id = 6)) WHERE id = 7');
SELECT ok(valid, 'and afterwards all is as it was') FROM ff_verify_events();

---- the log is not there, or not as it was ----
SELECT throws_ok(sql, '2BP01', NULL, sql) FROM unnest(ARRAY['DROP TABLE ff.events', 'DROP SCHEMA ff CASCADE', 'DROP TABLE ff.flags']) sql;
SAVEPOINT s;
ALTER TABLE ff.events DROP COLUMN comment;
SELECT throws_ok($$UPDATE ff.flags SET description = 'x' WHERE key = 'c'$$, '55000', NULL, 'no change goes unrecorded where the log was altered');
SELECT throws_ok('SELECT * FROM ff_verify_events()', '55000', NULL, 'nor is such a log judged');
ROLLBACK TO s;
CREATE FUNCTION drop_event() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER drop_event BEFORE INSERT ON ff.events FOR EACH ROW EXECUTE FUNCTION drop_event();
SELECT throws_ok($$UPDATE ff.flags SET description = 'x' WHERE key = 'c'$$, '55000', 'the event could not be written', 'nor where a trigger drops events');
DROP TRIGGER drop_event ON ff.events;
UPDATE ff.flags SET description = 'x' WHERE key = 'c';
SELECT ok(valid, 'whole to the end') FROM ff_verify_events();

SELECT * FROM finish();
ROLLBACK;
