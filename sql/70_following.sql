-- For programs that follow the flags from outside, as sse-bridge does.

CREATE FUNCTION ff_last_event(OUT event_id bigint, OUT event_hash bytea)
	RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_last_event() IS 'number and hash of the last event that this transaction has written; null where it has written none';

CREATE FUNCTION ff_namespaces(OUT namespace text, OUT channel text)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'ff_list_namespaces';
COMMENT ON FUNCTION ff_namespaces() IS 'namespaces whose flags the caller may read, and the channels that notify of changes';

CREATE FUNCTION ff_documents(namespace text DEFAULT NULL, OUT namespace text, OUT object text, OUT key text,
							 OUT version bigint, OUT definition jsonb)
	RETURNS SETOF record LANGUAGE c STABLE COST 10000 ROWS 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_documents(text) IS 'every flag and segment that the caller may read, archived ones too';

CREATE FUNCTION ff_events_after(after bigint, "limit" integer DEFAULT 500,
								OUT event_id bigint, OUT occurred_at timestamptz, OUT namespace text, OUT object text, OUT key text,
								OUT action text, OUT actor text, OUT comment text, OUT version bigint, OUT old_value jsonb,
								OUT new_value jsonb, OUT hash bytea)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_events_after(bigint, integer) IS 'events after a number, in order, of all namespaces that the caller may read';

CREATE FUNCTION ff_event_head(OUT event_id bigint, OUT event_hash bytea)
	RETURNS record LANGUAGE c STABLE COST 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_event_head() IS 'number and hash of the newest event that ff_events_after would list';
