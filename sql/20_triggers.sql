-- The functions behind the triggers of flag and segment tables. ff_register (25_namespaces.sql) attaches
-- them to tables, those of the default namespace too.

CREATE FUNCTION ff_validate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_validate_trigger() IS 'checks a flag or segment before it is written, and keeps its version and times';
CREATE FUNCTION ff_invalidate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_invalidate_trigger() IS 'tells every session that a flag or segment changed, and notes who changed it';
CREATE FUNCTION ff_check_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_check_trigger() IS 'checks references between flags and segments after a change';
CREATE FUNCTION ff_record_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_record_trigger() IS 'writes the event of a change at commit';
CREATE FUNCTION ff_protect_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_protect_trigger() IS 'refuses DELETE and TRUNCATE';
CREATE FUNCTION ff_protect_events_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_protect_events_trigger() IS 'refuses UPDATE, DELETE and TRUNCATE of events';
CREATE FUNCTION ff_namespace_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_namespace_trigger() IS 'has the tables of a namespace go with the extension';
CREATE FUNCTION ff_drop_trigger() RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_drop_trigger() IS 'unregisters namespaces whose tables were dropped';

REVOKE ALL ON FUNCTION ff_validate_trigger(), ff_invalidate_trigger(), ff_check_trigger(), ff_record_trigger(),
	ff_protect_trigger(), ff_protect_events_trigger(), ff_namespace_trigger(), ff_drop_trigger() FROM PUBLIC;

CREATE TRIGGER a00_ff_protect BEFORE UPDATE OR DELETE ON ff.events
	FOR EACH ROW EXECUTE FUNCTION ff_protect_events_trigger();
CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON ff.events
	FOR EACH STATEMENT EXECUTE FUNCTION ff_protect_events_trigger();
ALTER TABLE ff.events ENABLE ALWAYS TRIGGER a00_ff_protect;
ALTER TABLE ff.events ENABLE ALWAYS TRIGGER a00_ff_protect_truncate;

CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.namespaces
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();
CREATE TRIGGER a10_ff_namespace AFTER INSERT ON ff.namespaces
	FOR EACH ROW EXECUTE FUNCTION ff_namespace_trigger();
ALTER TABLE ff.namespaces ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.namespaces ENABLE ALWAYS TRIGGER a10_ff_namespace;

CREATE EVENT TRIGGER ff_unregister_dropped ON sql_drop
	EXECUTE FUNCTION ff_drop_trigger();
