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

-- Every change of a flag or segment, in the order of commits, without a gap in the numbers. Written at
-- commit by the triggers of 20_triggers.sql; hash is over the row and the hash of the row before.
CREATE TABLE ff.events (
	id bigint PRIMARY KEY,
	occurred_at timestamptz NOT NULL,
	namespace text COLLATE "C" NOT NULL,
	object text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	action text NOT NULL,
	actor text NOT NULL,
	session_role text NOT NULL,
	client_address inet,
	application_name text,
	comment text,
	version bigint NOT NULL,
	old_value jsonb,
	new_value jsonb,
	hash bytea NOT NULL
);
CREATE INDEX events_by_key ON ff.events (namespace, object, key, id);

-- Which tables hold the flags and segments of a namespace: see 25_namespaces.sql.
CREATE TABLE ff.namespaces (
	name text COLLATE "C" PRIMARY KEY,
	flags regclass NOT NULL UNIQUE,
	segments regclass NOT NULL UNIQUE
);

-- Always empty. Every change of a flag or segment sends an invalidation message for this table,
-- by which all sessions learn of it: cheaper than having them forget the flag table itself.
CREATE TABLE ff.cache_epoch ();

SELECT pg_catalog.pg_extension_config_dump('ff.flags', '');
SELECT pg_catalog.pg_extension_config_dump('ff.segments', '');
SELECT pg_catalog.pg_extension_config_dump('ff.events', '');
SELECT pg_catalog.pg_extension_config_dump('ff.namespaces', $$WHERE name OPERATOR(pg_catalog.<>) 'default'$$);

-- Who may read the key column may evaluate; who may read the table sees definitions.
GRANT SELECT (key) ON ff.flags TO PUBLIC;
