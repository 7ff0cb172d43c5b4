-- The triggers of a flag table and a segment table. Triggers fire in the order of their names. Those
-- after a change sort first: a trigger of the user's that evaluates a flag must meet a cache that
-- knows of the change. The one that validates sorts last: what it has seen is what is written.
-- All are ENABLE ALWAYS, so that logical replication's apply fires them too.

CREATE FUNCTION ff_validate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_validate_trigger() IS 'checks a flag or segment before it is written, and keeps its version and times';
CREATE FUNCTION ff_invalidate_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_invalidate_trigger() IS 'tells every session that a flag or segment changed';
CREATE FUNCTION ff_check_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_check_trigger() IS 'checks references between flags and segments after a change';
CREATE FUNCTION ff_protect_trigger() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_protect_trigger() IS 'refuses DELETE and TRUNCATE';

REVOKE ALL ON FUNCTION ff_validate_trigger(), ff_invalidate_trigger(), ff_check_trigger(),
	ff_protect_trigger() FROM PUBLIC;

CREATE TRIGGER zz_ff_validate BEFORE INSERT OR UPDATE ON ff.flags
	FOR EACH ROW EXECUTE FUNCTION ff_validate_trigger('flag');
CREATE TRIGGER a00_ff_protect BEFORE DELETE ON ff.flags
	FOR EACH ROW EXECUTE FUNCTION ff_protect_trigger('flag');
CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON ff.flags
	FOR EACH STATEMENT EXECUTE FUNCTION ff_protect_trigger('flag');
CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.flags
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();
CREATE TRIGGER a00_ff_invalidate_truncate AFTER TRUNCATE ON ff.flags
	FOR EACH STATEMENT EXECUTE FUNCTION ff_invalidate_trigger();
CREATE CONSTRAINT TRIGGER a10_ff_check AFTER INSERT OR UPDATE ON ff.flags
	DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION ff_check_trigger('flag');

CREATE TRIGGER zz_ff_validate BEFORE INSERT OR UPDATE ON ff.segments
	FOR EACH ROW EXECUTE FUNCTION ff_validate_trigger('segment');
CREATE TRIGGER a00_ff_protect BEFORE DELETE ON ff.segments
	FOR EACH ROW EXECUTE FUNCTION ff_protect_trigger('segment');
CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON ff.segments
	FOR EACH STATEMENT EXECUTE FUNCTION ff_protect_trigger('segment');
CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.segments
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();
CREATE TRIGGER a00_ff_invalidate_truncate AFTER TRUNCATE ON ff.segments
	FOR EACH STATEMENT EXECUTE FUNCTION ff_invalidate_trigger();
CREATE CONSTRAINT TRIGGER a10_ff_check AFTER INSERT OR UPDATE ON ff.segments
	DEFERRABLE INITIALLY IMMEDIATE
	FOR EACH ROW EXECUTE FUNCTION ff_check_trigger('segment');

CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON ff.namespaces
	FOR EACH ROW EXECUTE FUNCTION ff_invalidate_trigger();

ALTER TABLE ff.namespaces ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER zz_ff_validate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_protect;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_protect_truncate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a00_ff_invalidate_truncate;
ALTER TABLE ff.flags ENABLE ALWAYS TRIGGER a10_ff_check;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER zz_ff_validate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_protect;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_protect_truncate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_invalidate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a00_ff_invalidate_truncate;
ALTER TABLE ff.segments ENABLE ALWAYS TRIGGER a10_ff_check;
