-- Exposures: who was shown which variant. The worker (or ff_flush_exposures) lands them here, and keeps
-- what is derived of them with each batch, so that nobody has to read them all again.
-- user_id is the id that the flag's bucketing goes by.

CREATE TABLE ff.exposures (
	id bigint,
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	user_id text COLLATE "C",
	exposed_at timestamptz NOT NULL,
	reason text NOT NULL,
	rule_id text,
	flag_version bigint,
	evaluations bigint NOT NULL DEFAULT 1
) PARTITION BY RANGE (exposed_at);

-- What comes too late or too early for a partition of its own is kept here.
CREATE TABLE ff.exposures_default PARTITION OF ff.exposures DEFAULT;

-- Numbers in the order of commits (src/ff_forward.c). Each partition has an index of its own, and ff.exposures
-- none: one that is there when a dump's partitions are attached would make theirs, which the dump makes, too.
CREATE SEQUENCE ff.exposure_ids;
CREATE INDEX exposures_default_by_id ON ff.exposures_default (id);

-- Figures by the hour. users: how many had not been seen in this variant before.
CREATE TABLE ff.exposure_rollups (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	hour timestamptz NOT NULL,
	evaluations bigint NOT NULL,
	exposures bigint NOT NULL,
	users bigint NOT NULL,
	first_at timestamptz NOT NULL,
	last_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, flag_key, variant_key, hour)
) WITH (fillfactor = 50);

-- The first variant of each user.
CREATE TABLE ff.assignments (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	assigned_at timestamptz NOT NULL,
	reason text NOT NULL,
	rule_id text
);

-- By hashes: every batch looks up each of its users here, and whole texts take three times as long. That
-- a user has one row for a flag is seen to by the flush, of which there is one at a time.
CREATE INDEX assignments_by_user ON ff.assignments (pg_catalog.hashtext(flag_key), pg_catalog.hashtext(user_id));

-- Users who were seen in another variant than their first, by each such variant.
CREATE TABLE ff.crossovers (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	variant_key text COLLATE "C" NOT NULL,
	first_variant_key text COLLATE "C" NOT NULL,
	crossed_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, flag_key, user_id, variant_key)
);

SELECT pg_catalog.pg_extension_config_dump('ff.exposure_ids', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposures', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposures_default', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposure_rollups', '');
SELECT pg_catalog.pg_extension_config_dump('ff.assignments', '');
SELECT pg_catalog.pg_extension_config_dump('ff.crossovers', '');

CREATE VIEW ff.exposure_counts AS
	SELECT namespace, flag_key, variant_key, pg_catalog.sum(evaluations)::bigint AS evaluations,
		pg_catalog.sum(users)::bigint AS unique_users, pg_catalog.min(first_at) AS first_at,
		pg_catalog.max(last_at) AS last_at
	FROM ff.exposure_rollups GROUP BY namespace, flag_key, variant_key;
COMMENT ON VIEW ff.exposure_counts IS 'evaluations and unique users of each variant, with the first and the last time';

CREATE VIEW ff.exposure_hourly AS
	SELECT namespace, flag_key, variant_key, hour, evaluations, exposures, users AS new_users
	FROM ff.exposure_rollups;
COMMENT ON VIEW ff.exposure_hourly IS 'the same by the hour; new_users had not been seen in the variant before';
