-- The population: :users users with twelve attributes each, the same at every run.
CREATE TABLE users AS
SELECT g AS id, jsonb_build_object(
	'user_id', 'user-' || g,
	'email', 'u' || g || (ARRAY['@example.com', '@corp.example', '@mail.example'])[1 + g % 3],
	'country', (ARRAY['US', 'DE', 'FR', 'GB', 'AT'])[1 + g % 5],
	'plan', (ARRAY['free', 'pro', 'team'])[1 + g % 3],
	'age', 18 + g % 60,
	'app_version', (1 + g % 4) || '.' || g % 10 || '.' || g % 7,
	'locale', 'en-US',
	'device', 'phone',
	'os_version', '17.1',
	'beta', g % 10 = 0,
	'signup_days', g % 1000,
	'org_id', 'org-' || g % 1000) AS ctx
FROM generate_series(1, :users) g;
ALTER TABLE users ADD PRIMARY KEY (id);
VACUUM (ANALYZE, FREEZE) users;
