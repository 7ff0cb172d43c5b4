-- From the buffer in shared memory to the tables, and a look at what is in between. A row of exposures
-- is a user's in both: nobody sees them who wasn't granted to.

CREATE FUNCTION ff_flush_exposures() RETURNS bigint LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_flush_exposures() IS 'writes down the exposures of this database now; returns how many rows that were';

CREATE FUNCTION ff_maintain(OUT partitions_made integer, OUT partitions_dropped integer, OUT rows_deleted bigint)
	RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_maintain() IS 'makes and drops partitions of ff.exposures and checks sample ratios, as the worker does every hour';

CREATE FUNCTION ff_exposure_buffer(OUT namespace text, OUT flag_key text, OUT variant_key text, OUT user_id text,
								   OUT exposed_at timestamptz, OUT reason text, OUT rule_id text,
								   OUT flag_version bigint, OUT evaluations bigint)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposure_buffer() IS 'exposures of this database that are not written down yet';

CREATE FUNCTION ff_exposure_stats(OUT noted bigint, OUT flushed bigint, OUT dropped bigint, OUT buffered bigint,
								  OUT refused bigint, OUT entries bigint, OUT capacity bigint,
								  OUT last_flush timestamptz, OUT last_duration interval, OUT last_rows bigint,
								  OUT errors bigint, OUT last_error_at timestamptz, OUT last_error text,
								  OUT worker_pid integer)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_exposure_stats() IS 'the books of the exposure buffer for this database: noted = flushed + dropped + buffered, in evaluations';

CREATE FUNCTION ff_status(OUT version text, OUT preloaded boolean, OUT exposure_mode text, OUT exposure_sink text,
						  OUT problem text, OUT hint text)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_status() IS 'whether exposures are recorded, and if not, what to do about it';

REVOKE ALL ON FUNCTION ff_flush_exposures(), ff_maintain(), ff_exposure_buffer(), ff_exposure_stats() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ff_exposure_stats() TO pg_monitor;

CREATE VIEW ff.exposure_buffer AS SELECT * FROM @extschema@.ff_exposure_buffer();
CREATE VIEW ff.exposure_stats AS SELECT * FROM @extschema@.ff_exposure_stats();
COMMENT ON VIEW ff.exposure_buffer IS 'exposures of this database that are not written down yet';
COMMENT ON VIEW ff.exposure_stats IS 'the books of the exposure buffer for this database: noted = flushed + dropped + buffered, in evaluations; its last flush and error';
GRANT SELECT ON ff.exposure_stats TO pg_monitor;

-- When a worker said that an experiment's users are not spread as configured: once a day.
CREATE TABLE ff.sample_ratio_warnings (
	namespace text COLLATE "C" NOT NULL,
	flag_key text COLLATE "C" NOT NULL,
	day date NOT NULL,
	PRIMARY KEY (namespace, flag_key, day)
);
SELECT pg_catalog.pg_extension_config_dump('ff.sample_ratio_warnings', '');
