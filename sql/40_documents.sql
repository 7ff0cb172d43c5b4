-- Definitions as documents; they ask for SELECT on the table, and row-level security holds.

CREATE FUNCTION ff_flag(key text, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_flag(text, text) IS 'definition of a flag as one document; null where there is none';

CREATE FUNCTION ff_segment(key text, namespace text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_segment(text, text) IS 'definition of a segment as one document; null where there is none';

CREATE FUNCTION ff_cache_info(OUT namespaces integer, OUT flags bigint, OUT segments bigint,
							  OUT bytes bigint, OUT bytes_limit bigint, OUT generation bigint,
							  OUT hits bigint, OUT checks bigint, OUT loads bigint,
							  OUT evictions bigint)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION ff_cache_info() IS 'the compiled flags of this session: how many, how large, how often used';
