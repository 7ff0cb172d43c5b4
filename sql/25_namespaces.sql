-- Namespaces: flag tables, each with its segment table, its grants and its channel ff_<namespace>.

CREATE FUNCTION ff_register("table" regclass, namespace text, segments regclass DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_register(regclass, text, regclass) IS 'makes a table the flag table of a new namespace; without a segment table, one is made';

CREATE FUNCTION ff_unregister(namespace text) RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_unregister(text) IS 'ends a namespace; its tables stay, as ordinary tables';

CREATE FUNCTION ff_create_namespace(name text) RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_create_namespace(text) IS 'makes a namespace with tables of its own, ff.<name>_flags and ff.<name>_segments';

REVOKE ALL ON FUNCTION ff_register(regclass, text, regclass), ff_unregister(text), ff_create_namespace(text) FROM PUBLIC;

-- These run as the caller: they can give what he can give.
CREATE FUNCTION ff_grant(role text, privilege text, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_grant(text, text, text) IS 'lets a role (or public) evaluate, read, write or admin the flags of a namespace';

CREATE FUNCTION ff_revoke(role text, privilege text, namespace text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_revoke(text, text, text) IS 'takes back what ff_grant gave, with all that includes it';

SELECT @extschema@.ff_register('ff.flags', 'default', 'ff.segments');
