-- The same work without ff, as somebody who knows PostgreSQL would write it: a table of flags, and one
-- plpgsql function. Conditions lie flat in arrays, in their order, each with the number of its
-- rule; a condition that fails skips to the next rule. Everything in the loop is a simple expression:
-- no statement is run but the one that reads the flag by primary key.
CREATE TABLE peer_flags (key text PRIMARY KEY, enabled boolean NOT NULL, default_value boolean NOT NULL,
	rollout int, rule_of int[], attrs text[], ops int[], texts text[], numbers numeric[], lists jsonb[], versions int[]);
INSERT INTO peer_flags VALUES ('plain', true, true, NULL), ('rollout', true, false, 30);
INSERT INTO peer_flags
SELECT 'rules', true, false, NULL, array_agg(r.n::int ORDER BY r.n, c.n), array_agg(c.v ->> 'attr' ORDER BY r.n, c.n),
	array_agg(array_position(ARRAY['equals', 'in_list', 'greater_than', 'regex', 'semver_greater_or_equal'], c.v ->> 'op') ORDER BY r.n, c.n),
	array_agg(c.v ->> 'value' ORDER BY r.n, c.n),
	array_agg(CASE WHEN c.v ->> 'op' = 'greater_than' THEN (c.v ->> 'value')::numeric END ORDER BY r.n, c.n),
	array_agg(CASE WHEN c.v ->> 'op' = 'in_list' THEN c.v -> 'value' END ORDER BY r.n, c.n),
	array_agg(CASE WHEN c.v ->> 'op' LIKE 'semver%' THEN string_to_array(c.v ->> 'value', '.')::int[] ELSE '{0,0,0}' END ORDER BY r.n, c.n)
FROM jsonb_array_elements(ten_rules(0)) WITH ORDINALITY r (v, n), jsonb_array_elements(r.v -> 'if' -> 'all') WITH ORDINALITY c (v, n);
ANALYZE peer_flags;

CREATE FUNCTION peer_bool(flag_key text, ctx jsonb) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	enabled boolean;
	default_value boolean;
	rollout int;
	rule_of int[];
	attrs text[];
	ops int[];
	texts text[];
	numbers numeric[];
	lists jsonb[];
	versions int[];
	attribute text;
	op int;
	failed int := 0;
	holds boolean;
	conditions int;
BEGIN
	SELECT f.enabled, f.default_value, f.rollout, f.rule_of, f.attrs, f.ops, f.texts, f.numbers, f.lists, f.versions
		INTO enabled, default_value, rollout, rule_of, attrs, ops, texts, numbers, lists, versions
		FROM peer_flags f WHERE f.key = flag_key;
	IF NOT enabled THEN
		RETURN default_value;
	END IF;
	IF ops IS NOT NULL THEN
		conditions := cardinality(ops);
		FOR i IN 1 .. conditions LOOP
			CONTINUE WHEN rule_of[i] = failed;
			attribute := ctx ->> attrs[i];
			op := ops[i];
			IF op = 1 THEN
				holds := attribute = texts[i];
			ELSIF op = 2 THEN
				holds := lists[i] ? attribute;
			ELSIF op = 3 THEN
				holds := attribute::numeric > numbers[i];
			ELSIF op = 4 THEN
				holds := attribute ~ texts[i];
			ELSE
				holds := string_to_array(attribute, '.')::int[] >= ARRAY[versions[i][1], versions[i][2], versions[i][3]];
			END IF;
			IF holds IS NOT TRUE THEN
				failed := rule_of[i];
			ELSIF i = conditions OR rule_of[i + 1] <> rule_of[i] THEN
				RETURN true;
			END IF;
		END LOOP;
	END IF;
	IF (hashtextextended(flag_key || ':' || (ctx ->> 'user_id'), 0) & 9223372036854775807) % 100 < rollout THEN
		RETURN true;
	END IF;
	RETURN default_value;
END $$;
