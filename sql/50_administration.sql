-- Changing flags by functions. They run as the caller and do what INSERT, UPDATE and DELETE do.

CREATE FUNCTION ff_create_flag(definition jsonb, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_create_flag(jsonb, text) IS 'creates a flag from its document, and returns what was stored';
CREATE FUNCTION ff_create_segment(definition jsonb, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_create_segment(jsonb, text) IS 'creates a segment from its document, and returns what was stored';

CREATE FUNCTION ff_update_flag(key text, patch jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_update_flag(text, jsonb, bigint, text) IS 'changes a flag by a JSON merge patch (RFC 7396)';
CREATE FUNCTION ff_update_segment(key text, patch jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_update_segment(text, jsonb, bigint, text) IS 'changes a segment by a JSON merge patch (RFC 7396)';

CREATE FUNCTION ff_replace_flag(key text, definition jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_replace_flag(text, jsonb, bigint, text) IS 'gives a flag another definition as a whole';
CREATE FUNCTION ff_replace_segment(key text, definition jsonb, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_replace_segment(text, jsonb, bigint, text) IS 'gives a segment another definition as a whole';

CREATE FUNCTION ff_archive_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_archive_flag(text, bigint, text) IS 'ends the use of a flag and keeps it';
CREATE FUNCTION ff_archive_segment(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_archive_segment(text, bigint, text) IS 'ends the use of a segment and keeps it';

CREATE FUNCTION ff_restore_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_restore_flag(text, bigint, text) IS 'takes an archived flag into use again';
CREATE FUNCTION ff_restore_segment(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_restore_segment(text, bigint, text) IS 'takes an archived segment into use again';

CREATE FUNCTION ff_enable_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_enable_flag(text, bigint, text) IS 'takes back the kill switch';
CREATE FUNCTION ff_disable_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_disable_flag(text, bigint, text) IS 'throws the kill switch: everybody has the default';

CREATE FUNCTION ff_purge_flag(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_purge_flag(text, bigint, text) IS 'deletes an archived flag; its events stay';
CREATE FUNCTION ff_purge_segment(key text, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_purge_segment(text, bigint, text) IS 'deletes an archived segment; its events stay';

CREATE FUNCTION ff_revert_flag(key text, to_event bigint, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_revert_flag(text, bigint, bigint, text) IS 'gives a flag the definition that an event left it with';
CREATE FUNCTION ff_revert_segment(key text, to_event bigint, expected_version bigint DEFAULT NULL, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_revert_segment(text, bigint, bigint, text) IS 'gives a segment the definition that an event left it with';

-- Looking for flags, and at what happened to one.

CREATE FUNCTION ff_flags(state text DEFAULT NULL, tag text DEFAULT NULL, owner text DEFAULT NULL, search text DEFAULT NULL,
						 "limit" integer DEFAULT 100, after text DEFAULT NULL, namespace text DEFAULT NULL,
						 OUT flag_key text, OUT definition jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_flags(text, text, text, text, integer, text, text) IS 'flags by key, a page at a time: after takes the last key of the page before';
CREATE FUNCTION ff_segments(state text DEFAULT NULL, search text DEFAULT NULL, "limit" integer DEFAULT 100,
							after text DEFAULT NULL, namespace text DEFAULT NULL,
							OUT segment_key text, OUT definition jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_segments(text, text, integer, text, text) IS 'segments by key, a page at a time: after takes the last key of the page before';

CREATE FUNCTION ff_audit(key text, "limit" integer DEFAULT 100, after bigint DEFAULT NULL, namespace text DEFAULT NULL,
						 object text DEFAULT 'flag',
						 OUT event_id bigint, OUT occurred_at timestamptz, OUT actor text, OUT action text,
						 OUT comment text, OUT version bigint, OUT changed text[], OUT old_value jsonb, OUT new_value jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_audit(text, integer, bigint, text, text) IS 'events of a flag or segment, oldest first; after takes the last number of the page before';

CREATE FUNCTION ff_verify_events(OUT valid boolean, OUT events bigint, OUT event_id bigint, OUT problem text,
								 OUT head_id bigint, OUT head_hash bytea)
	RETURNS record LANGUAGE c STABLE COST 100000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_verify_events() IS 'whether the log is whole, and the first event that is not as it was written';
REVOKE ALL ON FUNCTION ff_verify_events() FROM PUBLIC;

-- Flags that have done their duty, as far as the caller may see definitions.

CREATE FUNCTION ff_stale_flags(OUT namespace text, OUT flag_key text, OUT reason text, OUT since timestamptz)
	RETURNS SETOF record LANGUAGE c STABLE COST 10000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_stale_flags() IS 'what ff.stale_flags shows';

CREATE VIEW ff.stale_flags AS SELECT namespace, flag_key, reason, since FROM @extschema@.ff_stale_flags();
COMMENT ON VIEW ff.stale_flags IS 'active flags that could go, each with the reason';
GRANT SELECT ON ff.stale_flags TO PUBLIC;

CREATE FUNCTION ff_last_evaluated(key text, namespace text DEFAULT NULL)
	RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_last_evaluated(text, text) IS 'when a flag was last evaluated on this server, to a minute; null where that is not known';
