-- Flags and segments. What is written to them is checked by the triggers of 20_triggers.sql;
-- doc/flag-format.md describes the columns.

CREATE TABLE ff.flags (
	key text COLLATE "C" PRIMARY KEY,
	type text NOT NULL,
	description text,
	state text NOT NULL DEFAULT 'active',
	enabled boolean NOT NULL DEFAULT true,
	default_value jsonb NOT NULL,
	variants jsonb,
	overrides jsonb,
	rules jsonb,
	rollout jsonb,
	requires jsonb,
	bucketing jsonb,
	experiment jsonb,
	tags jsonb,
	owner text,
	expires_at timestamptz,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
);

CREATE TABLE ff.segments (
	key text COLLATE "C" PRIMARY KEY,
	description text,
	state text NOT NULL DEFAULT 'active',
	"if" jsonb,
	included jsonb,
	excluded jsonb,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
);

-- Which tables hold the flags and segments of a namespace.
CREATE TABLE ff.namespaces (
	name text COLLATE "C" PRIMARY KEY,
	flags regclass NOT NULL UNIQUE,
	segments regclass NOT NULL UNIQUE
);
INSERT INTO ff.namespaces (name, flags, segments) VALUES ('default', 'ff.flags', 'ff.segments');

-- Always empty. Every change of a flag or segment sends an invalidation message for this table,
-- by which all sessions learn of it: cheaper than having them forget the flag table itself.
CREATE TABLE ff.cache_epoch ();

SELECT pg_catalog.pg_extension_config_dump('ff.flags', '');
SELECT pg_catalog.pg_extension_config_dump('ff.segments', '');

-- Who may read the key column may evaluate; who may read the table sees definitions.
GRANT SELECT (key) ON ff.flags TO PUBLIC;
