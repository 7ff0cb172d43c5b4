-- Exposures from and to programs outside: what they report, and what they forward.

-- Batches that were reported in the last days: each is written once, however often it is sent.
CREATE TABLE ff.exposure_batches (
	batch_id text COLLATE "C" PRIMARY KEY,
	received_at timestamptz NOT NULL,
	rows bigint NOT NULL
);
CREATE INDEX exposure_batches_by_time ON ff.exposure_batches (received_at);

-- How far who forwards exposures has got.
CREATE TABLE ff.exposure_cursors (
	name text COLLATE "C" PRIMARY KEY,
	last_id bigint NOT NULL,
	updated_at timestamptz NOT NULL
);

SELECT pg_catalog.pg_extension_config_dump('ff.exposure_batches', '');
SELECT pg_catalog.pg_extension_config_dump('ff.exposure_cursors', '');

CREATE FUNCTION ff_record_exposures(batch_id text, exposures jsonb, namespace text DEFAULT NULL,
									OUT recorded bigint, OUT duplicate boolean)
	RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_record_exposures(text, jsonb, text) IS 'writes down exposures that a program outside reports; a batch that was written is not written again';

CREATE FUNCTION ff_exposures_after(after bigint, "limit" integer DEFAULT 100,
								   OUT id bigint, OUT namespace text, OUT flag_key text, OUT variant_key text, OUT user_id text,
								   OUT exposed_at timestamptz, OUT reason text, OUT rule_id text, OUT flag_version bigint,
								   OUT evaluations bigint)
	RETURNS SETOF record LANGUAGE c STABLE COST 1000 ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposures_after(bigint, integer) IS 'rows of ff.exposures after a number, in the order in which they were written down';

CREATE FUNCTION ff_exposure_cursor(name text, OUT last_id bigint, OUT newest_id bigint, OUT updated_at timestamptz)
	RETURNS record LANGUAGE c STABLE COST 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposure_cursor(text) IS 'how far a cursor is, 0 for one that is not there yet, and the newest number of ff.exposures';

CREATE FUNCTION ff_move_exposure_cursor(name text, expected_last_id bigint, last_id bigint)
	RETURNS boolean LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_move_exposure_cursor(text, bigint, bigint) IS 'moves a cursor, if it is where it was expected; false where it is not';
