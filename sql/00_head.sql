-- ff 1.0. Assembled by make from sql/*.sql: edit those.
\echo Use "CREATE EXTENSION ff" to load this file. \quit

-- The engine compares and hashes UTF-8, and so must the text it is given be.
DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'ff needs a database with encoding UTF8'
			USING ERRCODE = 'feature_not_supported',
				  DETAIL = pg_catalog.format('This database has encoding %s.',
											 pg_catalog.getdatabaseencoding()),
				  HINT = 'Create one with CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
END
$$;

CREATE SCHEMA ff;
GRANT USAGE ON SCHEMA ff TO PUBLIC;
