-- The functions that change, find and audit flags and segments: what each does, refuses and records.
\set ON_ERROR_STOP 1
BEGIN;
CREATE EXTENSION ff;
SET CONSTRAINTS ALL IMMEDIATE; -- events are written at once, and can be counted
SELECT plan(253);

-- Runs a statement that must fail; returns SQLSTATE, and message, detail and hint.
CREATE FUNCTION refused(sql text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	code := 'not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;
CREATE FUNCTION head() RETURNS bigint LANGUAGE sql AS 'SELECT COALESCE(max(id), 0) FROM ff.events';
CREATE FUNCTION last_action() RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', action, object, key, version) FROM ff.events ORDER BY id DESC LIMIT 1$$;

---- creating ----
SELECT is(ff_create_flag('{"key": "a", "type": "boolean", "default_value": false, "tags": ["x"], "owner": "ann"}') -
	'{created_at,updated_at}'::text[],
	'{"key": "a", "type": "boolean", "state": "active", "enabled": true, "default_value": false, "tags": ["x"], "owner": "ann", "version": 1}',
	'create returns what was stored, with what was left out');
SELECT is(last_action(), 'created flag a 1', 'and is recorded');
SELECT is(ff_create_segment('{"key": "s", "included": ["u"]}') - '{created_at,updated_at}'::text[],
	'{"key": "s", "state": "active", "included": ["u"], "version": 1}', 'a segment');
SELECT is(last_action(), 'created segment s 1', 'and is recorded');
SELECT is(ff_flag('a') ->> 'owner', 'ann', 'the table has it');
SELECT is(ff_create_flag('{"key": "v", "type": "boolean", "default_value": true, "version": 77, "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z"}') -> 'version',
	'1', 'the version of a document is not taken over');
SELECT is(ff_flag('v') -> 'created_at', ff_flag('a') -> 'created_at', 'its times neither');

-- what is refused: statement, SQLSTATE, what message and detail say
CREATE TEMP TABLE wrong (sql text, code text, says text);
INSERT INTO wrong VALUES
	($$SELECT ff_create_flag('{"key": "a", "type": "boolean", "default_value": true}')$$, '23505', '(a)'),
	($$SELECT ff_create_segment('{"key": "s", "included": ["u"]}')$$, '23505', '(s)'),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "colour": 1}')$$, '22023', 'colour: unknown member'),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "overrides": [{"variant": "on", "users": ["u"], "why": 1}]}')$$, '22023', 'overrides[0].why: unknown member'),
	($$SELECT ff_create_segment('{"key": "b", "included": ["u"], "users": 1}')$$, '22023', 'users: unknown member'),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean"}')$$, '22023', 'default_value: '),
	($$SELECT ff_create_flag('{"type": "boolean", "default_value": true}')$$, '22023', 'key: '),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "enabled": "yes"}')$$, '22023', 'enabled: '),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "owner": 5}')$$, '22023', 'owner: '),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "expires_at": "tomorrow"}')$$, '22023', 'expires_at: '),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "tags": "x"}')$$, '22023', 'tags: '),
	($$SELECT ff_create_flag('[]')$$, '22023', 'must be a JSON object'),
	($$SELECT ff_create_flag('"b"')$$, '22023', 'must be a JSON object'),
	($$SELECT ff_create_flag('null')$$, '22023', 'must be a JSON object'),
	($$SELECT ff_create_flag(NULL)$$, '22023', 'must be a JSON object'),
	($$SELECT ff_create_segment(NULL)$$, '22023', 'must be a JSON object'),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true}', 'nowhere')$$, '42704', 'namespace "nowhere"'),
	($$SELECT ff_create_flag('{"key": "b", "type": "boolean", "default_value": true, "requires": [{"flag": "none", "variant": "on"}]}')$$, '23503', 'flag "none"'),
	($$SELECT ff_update_flag('a', NULL)$$, '22023', 'must be a JSON object'),
	($$SELECT ff_update_flag('a', '[]')$$, '22023', 'must be a JSON object'),
	($$SELECT ff_update_flag('a', 'null')$$, '22023', 'must be a JSON object'),
	($$SELECT ff_update_flag('a', '{"colour": 1}')$$, '22023', 'colour: unknown member'),
	($$SELECT ff_update_flag('a', '{"default_value": "yes"}')$$, '22023', 'default_value: '),
	($$SELECT ff_update_flag('a', '{"default_value": null}')$$, '22023', 'default_value: '),
	($$SELECT ff_update_flag('a', '{"key": "b"}')$$, '55000', 'key of flag "a" cannot be changed'),
	($$SELECT ff_update_flag('a', '{"type": "json"}')$$, '55000', 'type of flag "a" cannot be changed'),
	($$SELECT ff_update_segment('s', '{"key": "b"}')$$, '55000', 'key of segment "s" cannot be changed'),
	($$SELECT ff_update_segment('s', '{"included": null}')$$, '22023', 's'),
	($$SELECT ff_replace_flag('a', '{"type": "boolean", "default_value": true, "key": "b"}')$$, '55000', 'key of flag "a" cannot be changed'),
	($$SELECT ff_replace_flag('a', '{"type": "string", "default_value": "x"}')$$, '55000', 'type of flag "a" cannot be changed'),
	($$SELECT ff_replace_flag('a', '{}')$$, '22023', ': '),
	($$SELECT ff_replace_flag('a', NULL)$$, '22023', 'must be a JSON object'),
	($$SELECT ff_replace_segment('s', '{"included": "u"}')$$, '22023', 'included: '),
	($$SELECT ff_purge_flag('a')$$, '55000', 'flag "a" is not archived'),
	($$SELECT ff_purge_segment('s')$$, '55000', 'segment "s" is not archived'),
	($$SELECT ff_revert_flag('a', NULL)$$, '22004', 'event must not be null'),
	($$SELECT ff_revert_flag('a', 999999)$$, '42704', 'event 999999 is none of flag "a"'),
	($$SELECT ff_revert_flag('a', 0)$$, '42704', 'event 0 is none of flag "a"'),
	($$SELECT ff_revert_flag('a', -1)$$, '42704', 'event -1 is none of flag "a"'),
	($$SELECT ff_update_flag(NULL, '{}')$$, '22004', 'key must not be null'),
	($$SELECT * FROM ff_audit(NULL)$$, '22004', 'key must not be null'),
	($$SELECT * FROM ff_audit('a', object => NULL)$$, '22004', 'object must not be null'),
	($$SELECT * FROM ff_audit('a', object => 'flags')$$, '22023', '"flags"'),
	($$SELECT * FROM ff_audit('a', -1)$$, '2201W', 'negative'),
	($$SELECT * FROM ff_flags("limit" => -1)$$, '2201W', 'negative'),
	($$SELECT * FROM ff_segments("limit" => -1)$$, '2201W', 'negative'),
	($$SELECT * FROM ff_flags(namespace => 'nowhere')$$, '42704', 'nowhere'),
	($$SELECT * FROM ff_audit('a', namespace => 'nowhere')$$, '42704', 'nowhere');
-- every function with a key: null, a key that is not there, and a version that is not the row's
INSERT INTO wrong SELECT format('SELECT %s_%s(%s%s)', f, o, k, rest), code, says
FROM unnest(ARRAY['flag', 'segment']) o,
	(VALUES ('ff_archive', ''), ('ff_restore', ''), ('ff_purge', ''), ('ff_update', $$, '{}'$$),
		('ff_replace', $$, '{"type": "boolean", "default_value": true, "included": ["u"]}'$$), ('ff_enable', ''), ('ff_disable', '')) f(f, rest),
	(VALUES ('NULL', '22004', 'key must not be null'), ($$'none'$$, '42704', '"none" does not exist'), ($$''$$, '42704', '"" does not exist')) k(k, code, says)
WHERE o = 'flag' OR f NOT IN ('ff_enable', 'ff_disable');
INSERT INTO wrong SELECT format('SELECT %s_%s(%L%s, 5)', f, o, k, rest), '55V01', format('%s "%s" has version 1, not 5', o, k)
FROM (VALUES ('flag', 'a'), ('segment', 's')) o(o, k),
	(VALUES ('ff_archive', ''), ('ff_restore', ''), ('ff_purge', ''), ('ff_update', $$, '{}'$$), ('ff_revert', ', 1'),
		('ff_replace', $$, '{"type": "boolean", "default_value": true, "included": ["u"]}'$$), ('ff_enable', ''), ('ff_disable', '')) f(f, rest)
WHERE o = 'flag' OR f NOT IN ('ff_enable', 'ff_disable');
INSERT INTO wrong VALUES ($$SELECT ff_revert_flag('none', 1, 5)$$, '42704', 'flag "none" does not exist');
CREATE TEMP TABLE before AS SELECT head() AS id;
SELECT ok(r.code = w.code AND strpos(concat_ws(' ', r.message, r.detail), w.says) > 0,
	format('%s: %s %s', w.sql, r.code, concat_ws(' / ', r.message, r.detail)))
FROM wrong w, refused(w.sql) r;
SELECT is(head(), (SELECT id FROM before), 'nothing of that was recorded');
SELECT ok((ff_flag('a') ->> 'version')::int = 1 AND (ff_segment('s') ->> 'version')::int = 1, 'nor changed anything');
SELECT matches((SELECT hint FROM refused($$SELECT ff_update_flag('a', '{}', 2)$$)), 'Read it again', 'a stale version has a hint');

---- updating: RFC 7396, appendix A ----
SELECT ff_create_flag('{"key": "j", "type": "json", "default_value": {}}') \g /dev/null
CREATE FUNCTION patched(original jsonb, patch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ff_replace_flag('j', jsonb_build_object('type', 'json', 'default_value', jsonb_build_object('d', original)));
	RETURN ff_update_flag('j', jsonb_build_object('default_value', jsonb_build_object('d', patch))) #> '{default_value}';
END $$;
SELECT is(patched(original, patch), result, format('%s + %s', original, patch)) FROM (VALUES
	('{"a": "b"}'::jsonb, '{"a": "c"}'::jsonb, '{"d": {"a": "c"}}'::jsonb),
	('{"a": "b"}', '{"b": "c"}', '{"d": {"a": "b", "b": "c"}}'),
	('{"a": "b"}', '{"a": null}', '{"d": {}}'),
	('{"a": "b", "b": "c"}', '{"a": null}', '{"d": {"b": "c"}}'),
	('{"a": ["b"]}', '{"a": "c"}', '{"d": {"a": "c"}}'),
	('{"a": "c"}', '{"a": ["b"]}', '{"d": {"a": ["b"]}}'),
	('{"a": {"b": "c"}}', '{"a": {"b": "d", "c": null}}', '{"d": {"a": {"b": "d"}}}'),
	('{"a": [{"b": "c"}]}', '{"a": [1]}', '{"d": {"a": [1]}}'),
	('["a", "b"]', '["c", "d"]', '{"d": ["c", "d"]}'),
	('{"a": "b"}', '["c"]', '{"d": ["c"]}'),
	('{"a": "foo"}', 'null', '{}'),
	('{"a": "foo"}', '"bar"', '{"d": "bar"}'),
	('{"e": null}', '{"a": 1}', '{"d": {"e": null, "a": 1}}'),
	('[1, 2]', '{"a": "b", "c": null}', '{"d": {"a": "b"}}'),
	('{}', '{"a": {"bb": {"ccc": null}}}', '{"d": {"a": {"bb": {}}}}'),
	('{"a": {"b": {"c": 1, "d": 2}}, "z": 0}', '{"a": {"b": {"c": null}}}', '{"d": {"a": {"b": {"d": 2}}, "z": 0}}'),
	('{"a": 1}', '{"a": [null, {"b": null}]}', '{"d": {"a": [null, {"b": null}]}}'),
	('{"": 1, "ü": 2}', '{"": null, "ü": {"": 0}}', '{"d": {"ü": {"": 0}}}')) t(original, patch, result);
SELECT is(ff_update_flag('a', '{"tags": ["y", "z"]}') -> 'tags', '["y", "z"]', 'an array is replaced, not merged');
SELECT ok(NOT ff_update_flag('a', '{"tags": null, "owner": null}') ?| '{tags,owner}', 'null takes a member away');
SELECT is((SELECT (tags, owner) IS NULL FROM ff.flags WHERE key = 'a'), true, 'and its column is null');
SELECT is(ff_update_flag('a', '{"enabled": false, "state": null}') -> 'enabled', 'false', 'a state taken away is the default''s');
SELECT is(ff_flag('a') ->> 'state', 'active', 'which is active');
SELECT is(ff_update_flag('a', '{"enabled": null}') -> 'enabled', 'true', 'as for enabled');
SELECT is(ff_update_flag('a', '{"expires_at": "2030-01-02T03:04:05.000006+01:00"}') ->> 'expires_at', '2030-01-02T02:04:05.000006Z', 'a time is kept to the microsecond');
SET LOCAL datestyle = 'German, DMY'; SET LOCAL timezone = 'Asia/Kolkata';
SELECT is(ff_update_flag('a', '{"expires_at": "2030-02-01T00:00:00Z"}') ->> 'expires_at', '2030-02-01T00:00:00Z', 'whatever the session''s way of writing dates');
RESET datestyle; RESET timezone;
SELECT is(ff_update_segment('s', '{"included": ["v"], "if": {"attr": "plan", "op": "equals", "value": "pro"}}') - '{created_at,updated_at}'::text[],
	'{"key": "s", "state": "active", "included": ["v"], "if": {"attr": "plan", "op": "equals", "value": "pro"}, "version": 2}', 'a segment is patched');
SELECT is(ff_update_segment('s', '{"if": {"value": "free"}}') #>> '{if,value}', 'free', 'inside its condition, too');
SELECT is(ff_update_flag('a', '{"description": "d"}', (ff_flag('a') ->> 'version')::bigint) ->> 'description', 'd', 'the version it has is the right one');

---- idempotence ----
UPDATE before SET id = head();
CREATE TEMP TABLE was AS SELECT ff_flag('a') AS flag, ff_segment('s') AS segment;
SELECT is(r, flag, 'no change: ' || what) FROM was, LATERAL (VALUES
	('empty patch', ff_update_flag('a', '{}')), ('same value', ff_update_flag('a', '{"description": "d"}')),
	('nothing to take away', ff_update_flag('a', '{"owner": null}')), ('same definition', ff_replace_flag('a', flag)),
	('enable', ff_enable_flag('a')), ('restore', ff_restore_flag('a')), ('version in a patch', ff_update_flag('a', '{"version": 400}'))) t(what, r);
SELECT is(r, segment, 'no change: ' || what) FROM was, LATERAL (VALUES
	('empty patch', ff_update_segment('s', '{}')), ('same definition', ff_replace_segment('s', segment)), ('restore', ff_restore_segment('s'))) t(what, r);
SELECT is(head(), (SELECT id FROM before), 'what changes nothing is no event');

---- replacing ----
SELECT is(ff_replace_flag('a', '{"type": "boolean", "default_value": true, "tags": ["t"]}') - '{created_at,updated_at,version}'::text[],
	'{"key": "a", "type": "boolean", "state": "active", "enabled": true, "default_value": true, "tags": ["t"]}', 'what the new definition has not is gone');
SELECT is(ff_flag('a') -> 'created_at', (SELECT flag -> 'created_at' FROM was), 'the time of its creation stays');
SELECT is(ff_replace_flag('a', '{"key": "a", "type": "boolean", "default_value": false}') ->> 'default_value', 'false', 'the key may be in it');
SELECT is(ff_replace_segment('s', '{"included": ["w"]}') - '{created_at,updated_at,version}'::text[],
	'{"key": "s", "state": "active", "included": ["w"]}', 'segments, too');

---- states ----
SELECT is(ff_disable_flag('a') -> 'enabled', 'false', 'disable');
SELECT is((ff_evaluate('a')).reason, 'KILL_SWITCH', 'serves the default');
SELECT matches(last_action(), '^disabled flag a', 'is recorded as such');
SELECT is(ff_enable_flag('a') -> 'enabled', 'true', 'enable');
SELECT matches(last_action(), '^enabled flag a', 'is recorded as such');
SELECT is(ff_archive_flag('a') ->> 'state', 'archived', 'archive');
SELECT matches(last_action(), '^archived flag a', 'is recorded as such');
UPDATE before SET id = head();
SELECT is(ff_archive_flag('a') ->> 'state', 'archived', 'twice');
SELECT is(head(), (SELECT id FROM before), 'is no event');
SELECT is(ff_restore_flag('a') ->> 'state', 'active', 'restore');
SELECT matches(last_action(), '^restored flag a', 'is recorded as such');
SELECT is(ff_archive_segment('s') ->> 'state', 'archived', 'archive a segment');
SELECT matches(last_action(), '^archived segment s', 'is recorded as such');
SELECT is(ff_restore_segment('s') ->> 'state', 'active', 'restore it');
SELECT matches(last_action(), '^restored segment s', 'is recorded as such');
SELECT ff_create_flag('{"key": "dep", "type": "boolean", "default_value": false, "requires": [{"flag": "a", "variant": "on"}], "rules": [{"if": {"segment": "s"}, "serve": "on"}]}') \g /dev/null
SELECT is((SELECT code || ' ' || detail FROM refused($$SELECT ff_archive_flag('a')$$)), '2BP01 Used by flag dep.', 'what others use is not archived');
SELECT is((SELECT code || ' ' || detail FROM refused($$SELECT ff_archive_segment('s')$$)), '2BP01 Used by flag dep.', 'segments neither');

---- purging and reverting ----
SELECT ff_archive_flag('dep'), ff_archive_flag('a'), ff_archive_segment('s') \g /dev/null
CREATE TEMP TABLE gone AS SELECT ff_flag('a') AS flag, ff_segment('s') AS segment;
SELECT lives_ok($$SELECT ff_purge_flag('a', (SELECT (flag ->> 'version')::bigint FROM gone))$$, 'what is archived is purged');
SELECT is(ff_flag('a'), NULL, 'and is no more');
SELECT matches(last_action(), '^purged flag a', 'is recorded as such');
SELECT results_eq($$SELECT old_value, new_value FROM ff.events WHERE id = head()$$, 'SELECT flag, NULL::jsonb FROM gone', 'with what it was');
SELECT lives_ok($$SELECT ff_purge_segment('s')$$, 'a segment, too');
SELECT matches(last_action(), '^purged segment s', 'is recorded as such');
SELECT is((SELECT code FROM refused($$DELETE FROM ff.flags WHERE key = 'dep'$$)), '55000', 'plain DELETE stays refused, also after a purge');
SELECT is((SELECT code || ' ' || message FROM refused(format($$SELECT ff_revert_flag('a', %s)$$, (SELECT max(id) FROM ff.events WHERE key = 'a')))),
	format('22023 event %s left no definition', (SELECT max(id) FROM ff.events WHERE key = 'a')), 'to a purge nothing is reverted');
SELECT is(ff_revert_flag('a', (SELECT min(id) FROM ff.events WHERE key = 'a' AND object = 'flag')) - '{created_at,updated_at,version}'::text[],
	'{"key": "a", "type": "boolean", "state": "active", "enabled": true, "default_value": false, "tags": ["x"], "owner": "ann"}', 'a purged flag comes back as an event left it');
SELECT is((ff_flag('a') -> 'version')::bigint, (SELECT (flag -> 'version')::bigint + 1 FROM gone), 'its versions go on');
SELECT matches(last_action(), '^created flag a', 'as a new event');
SELECT is(ff_revert_segment('s', (SELECT min(id) FROM ff.events WHERE key = 's' AND object = 'segment')) -> 'included', '["u"]', 'a purged segment, too');
SELECT is((ff_segment('s') -> 'version')::bigint, (SELECT (segment -> 'version')::bigint + 1 FROM gone), 'with the next version');
SELECT ff_update_flag('a', '{"default_value": true, "tags": ["new"]}') \g /dev/null
SELECT is(ff_revert_flag('a', (SELECT min(id) FROM ff.events WHERE key = 'a' AND object = 'flag')) -> 'tags', '["x"]', 'a flag that is there is reverted');
SELECT matches(last_action(), '^updated flag a', 'which is an update');
UPDATE before SET id = head();
SELECT ff_revert_flag('a', head()) \g /dev/null
SELECT is(head(), (SELECT id FROM before), 'to what it is, none');
SELECT ff_create_segment('{"key": "a", "included": ["u"]}') \g /dev/null
SELECT ff_create_namespace('other') \g /dev/null
SELECT ff_create_flag('{"key": "a", "type": "boolean", "default_value": false}', 'other') \g /dev/null
SELECT is((SELECT code FROM refused(format($$SELECT ff_revert_flag('a', %s)$$, id))), '42704', 'an event of another ' || what)
FROM (SELECT max(id), 'key' FROM ff.events WHERE key = 'v' UNION ALL
	SELECT max(id), 'object' FROM ff.events WHERE key = 'a' AND object = 'segment' UNION ALL
	SELECT max(id), 'namespace' FROM ff.events WHERE namespace = 'other') t(id, what);
SELECT is((SELECT code FROM refused(format($$SELECT ff_revert_segment('a', %s)$$, (SELECT max(id) FROM ff.events WHERE key = 'a' AND object = 'flag' AND namespace = 'default')))), '42704', 'of a flag for a segment');

---- plain DML does the same ----
INSERT INTO ff.flags (key, type, default_value, version) VALUES ('plain', 'boolean', 'false', 50);
SELECT is(last_action(), 'created flag plain 1', 'INSERT');
UPDATE ff.flags SET enabled = false WHERE key = 'plain';
SELECT is(last_action(), 'disabled flag plain 2', 'UPDATE of enabled');
UPDATE ff.flags SET state = 'archived' WHERE key = 'plain';
SELECT is(last_action(), 'archived flag plain 3', 'UPDATE of state');
SELECT is(array[f.code, f.detail], array[p.code, p.detail], 'refused as by a function: ' || p.detail)
FROM (VALUES
	($$UPDATE ff.flags SET default_value = '5' WHERE key = 'a'$$, $$SELECT ff_update_flag('a', '{"default_value": 5}')$$),
	($$UPDATE ff.flags SET rules = '[{"serve": "on"}]' WHERE key = 'a'$$, $$SELECT ff_update_flag('a', '{"rules": [{"serve": "on"}]}')$$),
	($$UPDATE ff.flags SET requires = '[{"flag": "none", "variant": "on"}]' WHERE key = 'a'$$, $$SELECT ff_update_flag('a', '{"requires": [{"flag": "none", "variant": "on"}]}')$$),
	($$UPDATE ff.segments SET included = '[]' WHERE key = 's'$$, $$SELECT ff_update_segment('s', '{"included": []}')$$),
	($$INSERT INTO ff.flags (key, type, default_value) VALUES ('bad key', 'boolean', 'true')$$, $$SELECT ff_create_flag('{"key": "bad key", "type": "boolean", "default_value": true}')$$),
	($$INSERT INTO ff.segments (key, included) VALUES ('t', '[1]')$$, $$SELECT ff_create_segment('{"key": "t", "included": [1]}')$$)) s(plain, func),
	refused(s.plain) p, refused(s.func) f;

---- lists of flags ----
SELECT ff_create_namespace('many') \g /dev/null
SET LOCAL ff.namespace = 'many';
SELECT ff_create_flag(jsonb_build_object('key', 'f' || lpad(i::text, 3, '0'), 'type', 'boolean', 'default_value', false)) FROM generate_series(1, 250) i \g /dev/null
CREATE FUNCTION pages(size int, OUT page int, OUT keys text[]) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE last text;
BEGIN
	FOR i IN 1 .. 300 LOOP
		SELECT array_agg(flag_key ORDER BY n) INTO keys FROM ff_flags("limit" => size, after => last) WITH ORDINALITY AS t(flag_key, definition, n);
		EXIT WHEN keys IS NULL;
		page := i;
		RETURN NEXT;
		last := keys[cardinality(keys)];
	END LOOP;
END $$;
SELECT results_eq(format('SELECT k FROM pages(%s), unnest(keys) WITH ORDINALITY AS u(k, n) ORDER BY page, n', size),
	'SELECT key COLLATE "default" FROM ff.many_flags ORDER BY key COLLATE "C"', format('pages of %s give each flag once, in order', size)) FROM unnest(ARRAY[1, 7, 50, 100, 249, 250, 251]) size;
SELECT is((SELECT count(*) FROM ff_flags()), 100::bigint, 'a page has 100 where nothing is said');
SELECT is((SELECT count(*) FROM ff_flags("limit" => NULL)), 250::bigint, 'all, where no limit is wanted');
SELECT is((SELECT count(*) FROM ff_flags("limit" => 0)), 0::bigint, 'a limit of none');
SELECT is_empty($$SELECT * FROM ff_flags(after => 'f250')$$, 'nothing after the last');
SELECT is((SELECT min(flag_key) FROM ff_flags(after => 'f0015')), 'f002', 'after a key that is not there');
SELECT ff_update_flag('f010', '{"tags": ["red", "50%"], "owner": "ann", "description": "100% of _all_ C:\\temp and ÄRGER"}'),
	ff_update_flag('f011', '{"tags": ["red"], "owner": "bob", "description": "100 of all C:temp"}'), ff_archive_flag('f011') \g /dev/null
SELECT is((SELECT string_agg(flag_key, ' ' ORDER BY flag_key) FROM ff_flags(state, tag, owner, search)), found,
	format('state %L, tag %L, owner %L, search %L', state, tag, owner, search))
FROM (VALUES ('archived', NULL, NULL, NULL, 'f011'), (NULL, 'red', NULL, NULL, 'f010 f011'), ('active', 'red', NULL, NULL, 'f010'),
	(NULL, '50%', NULL, NULL, 'f010'), (NULL, 're', NULL, NULL, NULL), (NULL, 'RED', NULL, NULL, NULL), (NULL, NULL, 'bob', NULL, 'f011'),
	(NULL, NULL, 'bo%', NULL, NULL), ('archived', 'red', 'ann', NULL, NULL), (NULL, NULL, NULL, '100%', 'f010'), (NULL, NULL, NULL, '_all_', 'f010'),
	(NULL, NULL, NULL, '\', 'f010'), (NULL, NULL, NULL, 'ärger', 'f010'), (NULL, NULL, NULL, 'c:', 'f010 f011'), (NULL, NULL, NULL, 'F24', 'f240 f241 f242 f243 f244 f245 f246 f247 f248 f249'),
	(NULL, NULL, NULL, 'f01%', NULL), ('nonsense', NULL, NULL, NULL, NULL), (NULL, 'red', 'ann', 'temp', 'f010')) t(state, tag, owner, search, found);
SELECT is((SELECT count(*) FROM ff_flags(search => '', "limit" => NULL)), 250::bigint, 'an empty search finds all');
SELECT is(definition, ff_flag('f010'), 'a list has whole definitions') FROM ff_flags(owner => 'ann');

---- lists of segments ----
SELECT ff_create_segment(jsonb_build_object('key', 's' || i, 'included', '["u"]'::jsonb, 'description', 'Number ' || i)) FROM generate_series(1, 9) i \g /dev/null
SELECT ff_archive_segment('s4') \g /dev/null
SELECT is((SELECT string_agg(segment_key, ' ' ORDER BY segment_key) FROM ff_segments(state, search, size, after)), found,
	format('segments: %L, %L, %L, %L', state, search, size, after))
FROM (VALUES (NULL, NULL, NULL, NULL, 's1 s2 s3 s4 s5 s6 s7 s8 s9'), ('archived', NULL, 9, NULL, 's4'), (NULL, 'number 3', 9, NULL, 's3'), (NULL, NULL, 2, 's3', 's4 s5'), (NULL, '%', 9, NULL, NULL)) t(state, search, size, after, found);
SELECT is(definition, ff_segment('s4'), 'with whole definitions') FROM ff_segments('archived');
RESET ff.namespace;
SELECT is_empty($$SELECT * FROM ff_flags(search => 'f0', namespace => 'default')$$, 'a list is of one namespace');

---- what happened to one ----
SELECT ff_create_flag('{"key": "h", "type": "boolean", "default_value": false}') \g /dev/null
SET LOCAL ff.actor = 'carol'; SET LOCAL ff.comment = 'because';
SELECT ff_update_flag('h', '{"default_value": true, "tags": ["t"]}') \g /dev/null
RESET ff.actor; RESET ff.comment;
SELECT ff_update_flag('h', '{"tags": null, "owner": "ann"}'), ff_disable_flag('h'), ff_archive_flag('h'), ff_purge_flag('h') \g /dev/null
CREATE TEMP TABLE audit AS SELECT * FROM ff_audit('h') WITH ORDINALITY AS a(event_id, occurred_at, actor, action, comment, version, changed, old_value, new_value, n);
SELECT is((SELECT string_agg(concat_ws(' ', action, version, (SELECT array_agg(m ORDER BY m COLLATE "C") FROM unnest(changed) m), replace(actor, session_user, 'me'), comment), E'\n' ORDER BY n) FROM audit),
	'created 1 {default_value,enabled,key,state,type} me
updated 2 {default_value,tags} carol because
updated 3 {owner,tags} me
disabled 4 {enabled} me
archived 5 {state} me
purged 5 {default_value,enabled,key,owner,state,type} me', 'oldest first: who, what, why, and the members that changed');
SELECT ok(bool_and(a.old_value IS NOT DISTINCT FROM b.new_value), 'the old value is the new one before') FROM audit a LEFT JOIN audit b ON b.n = a.n - 1;
SELECT is((SELECT new_value -> 'tags' FROM audit WHERE n = 2), '["t"]', 'whole definitions');
SELECT results_eq(format($$SELECT event_id FROM ff_audit('h', 2, %s)$$, event_id), format('SELECT event_id FROM audit WHERE n IN (%s, %s) ORDER BY n', n + 1, n + 2), 'two after event number ' || n) FROM audit ORDER BY n;
SELECT is((SELECT count(*) FROM ff_audit('h', NULL)), 6::bigint, 'all, where no limit is wanted');
SELECT is_empty($$SELECT * FROM ff_audit('h', object => 'segment')$$, 'a flag''s history is not a segment''s');
SELECT is((SELECT string_agg(action, ' ' ORDER BY event_id) FROM ff_audit('s', object => 'segment')), 'created updated updated updated archived restored archived purged created', 'a segment''s');
SELECT is_empty($$SELECT * FROM ff_audit('never-was')$$, 'what never was has no history');
SELECT is((SELECT count(*) FROM ff_audit('a', namespace => 'other')), 1::bigint, 'a namespace has its own');
SELECT ok(valid, 'and the log is whole: ' || COALESCE(problem, 'nothing wrong')) FROM ff_verify_events();

SELECT * FROM finish();
ROLLBACK;
