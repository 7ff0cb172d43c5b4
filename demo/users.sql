--
-- demo/users.sql: 100,000 users, each with the context that an application would send, and what some
-- of them have ordered.
--
-- Everything about a user follows from the hash of his number, never from random(), so that the
-- demo shows the same answers wherever it runs.
--
\set ON_ERROR_STOP on
SET timezone = 'UTC';

CREATE TABLE users (id bigint PRIMARY KEY, context jsonb NOT NULL);

-- A number from 0 to n - 1, the same each time for one user and one purpose.
CREATE FUNCTION pg_temp.below(id bigint, purpose text, n int) RETURNS int
    LANGUAGE sql IMMUTABLE
    RETURN (hashtextextended(purpose || id, 0) & 9223372036854775807) % n;

-- An element of a list, each as likely as the others: repeat what is to come more often.
CREATE FUNCTION pg_temp.pick(id bigint, purpose text, list text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN list[1 + pg_temp.below(id, purpose, cardinality(list))];

WITH person AS (
    SELECT id,
           pg_temp.pick(id, 'first', '{ada,alan,anna,ben,carla,chen,david,elif,emma,felix,grace,
               hugo,ines,jan,julia,kofi,lena,luca,maria,mia,noah,nora,omar,paul,priya,rosa,sam,tom,
               vera,yuki}') AS first,
           pg_temp.pick(id, 'last', '{baker,bauer,becker,costa,diaz,dubois,fischer,garcia,gruber,
               huber,jones,khan,kim,lopez,martin,meyer,moreau,muller,novak,patel,rossi,sato,schmidt,
               silva,smith,taylor,weber,wagner,wilson,young}') AS last,
           pg_temp.pick(id, 'country', '{US,US,US,US,US,US,DE,DE,DE,GB,GB,FR,FR,IN,IN,BR,ES,IT,
               NL,AT}') AS country,
           pg_temp.pick(id, 'plan', '{free,free,free,free,free,free,free,pro,pro,
               enterprise}') AS plan,
           pg_temp.pick(id, 'os', '{ios,ios,ios,android,android,android,android,web,web,
               web}') AS os
    FROM generate_series(1, 100000) AS id
)
INSERT INTO users
SELECT id,
       -- nobody has all of it: a free plan has no organisation, one in twenty told no age, and
       -- the web has no version
       jsonb_strip_nulls(jsonb_build_object(
           'user_id', 'user-' || id,
           'email', format('%s.%s%s@%s', first, last, id,
               CASE WHEN id % 500 = 1 THEN 'example.com' -- people of ours
                    ELSE pg_temp.pick(id, 'mail', '{mail.example,post.example,web.example}') END),
           'country', country,
           'locale', '{"US": "en-US", "GB": "en-GB", "IN": "en-IN", "DE": "de-DE", "AT": "de-AT",
               "FR": "fr-FR", "BR": "pt-BR", "ES": "es-ES", "IT": "it-IT",
               "NL": "nl-NL"}'::jsonb -> country,
           'plan', plan,
           'org_id', CASE WHEN plan <> 'free' THEN 'org-' || pg_temp.below(id, 'org', 2000) END,
           'age', CASE WHEN pg_temp.below(id, 'told', 20) > 0
               THEN 14 + pg_temp.below(id, 'age1', 30) + pg_temp.below(id, 'age2', 30) END,
           'beta', pg_temp.below(id, 'beta', 25) = 0,
           'device', jsonb_build_object('os', os, 'kind', CASE WHEN os = 'web' THEN 'desktop'
               ELSE pg_temp.pick(id, 'kind', '{phone,phone,phone,tablet}') END),
           'app_version', CASE WHEN os <> 'web' THEN pg_temp.pick(id, 'app', '{4.1.0,4.2.0,4.2.3,
               4.3.0,4.3.0,5.0.0-rc.2,5.0.0,5.0.0,5.0.1,5.0.1}') END,
           'signup_at', timestamptz '2026-09-01'
               - interval '1 minute' * pg_temp.below(id, 'signup', 1500000)
       ))
FROM person;

CREATE TABLE orders (user_id text NOT NULL, amount numeric NOT NULL);

INSERT INTO orders
SELECT 'user-' || id, 5 + pg_temp.below(id, 'amount', 9500) / 100.0
FROM generate_series(1, 100000) AS id
WHERE pg_temp.below(id, 'ordered', 8) = 0;

ANALYZE users, orders;
