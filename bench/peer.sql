-- The same work without ff, as somebody who knows PostgreSQL would write it: a table of flags with
-- rules in jsonb, and one plpgsql function. It stops at the first condition that fails and at the
-- first rule that holds, compares without building anything, and reads the flag by primary key.
CREATE TABLE peer_flags (key text PRIMARY KEY, enabled boolean NOT NULL, default_value boolean NOT NULL,
	rollout int, rules jsonb);
INSERT INTO peer_flags VALUES ('plain', true, true, NULL, NULL), ('rollout', true, false, 30, NULL),
	('rules', true, false, NULL, ten_rules(0));
ANALYZE peer_flags;

CREATE FUNCTION peer_bool(flag_key text, ctx jsonb) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	flag peer_flags%ROWTYPE;
	rule jsonb;
	cond jsonb;
	attribute jsonb;
	holds boolean;
BEGIN
	SELECT * INTO flag FROM peer_flags WHERE key = flag_key;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	IF NOT flag.enabled THEN
		RETURN flag.default_value;
	END IF;
	IF flag.rules IS NOT NULL THEN
		FOR rule IN SELECT jsonb_array_elements(flag.rules) LOOP
			FOR cond IN SELECT jsonb_array_elements(rule -> 'if' -> 'all') LOOP
				attribute := ctx -> (cond ->> 'attr');
				CASE cond ->> 'op'
					WHEN 'equals' THEN holds := attribute = cond -> 'value';
					WHEN 'in_list' THEN holds := cond -> 'value' @> attribute;
					WHEN 'greater_than' THEN holds := attribute > cond -> 'value';
					WHEN 'regex' THEN holds := attribute #>> '{}' ~ (cond ->> 'value');
					ELSE holds := string_to_array(attribute #>> '{}', '.')::int[] >= string_to_array(cond ->> 'value', '.')::int[];
				END CASE;
				EXIT WHEN holds IS NOT TRUE;
			END LOOP;
			IF holds THEN
				RETURN true;
			END IF;
		END LOOP;
	END IF;
	IF flag.rollout IS NOT NULL
	   AND (hashtextextended(flag_key || ':' || (ctx ->> 'user_id'), 0) & 9223372036854775807) % 100 < flag.rollout THEN
		RETURN true;
	END IF;
	RETURN flag.default_value;
END $$;
