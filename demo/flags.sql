--
-- demo/flags.sql: sample flags of every type, as a web shop might have them.
--
-- A flag is a row. What can be written in each column is in doc/flag-format.md; an INSERT that
-- says anything else is refused, with the path to what is wrong.
--
\set ON_ERROR_STOP on
BEGIN;

--
-- Segments: conditions with a name
--

INSERT INTO ff.segments (key, description, "if", included, excluded) VALUES
('staff', 'People of ours, and the agency that tests for us',
 '{"attr": "email", "op": "ends_with", "value": "@example.com", "ignore_case": true}',
 '["user-17", "user-23"]', '["user-501"]'),

('dach', 'Germany and Austria',
 '{"attr": "country", "op": "in_list", "value": ["DE", "AT"]}', NULL, NULL),

('paying', 'Whoever pays',
 '{"attr": "plan", "op": "in_list", "value": ["pro", "enterprise"]}', NULL, NULL),

('early-adopters', 'Beta testers, and staff on their phones',
 '{"any": [{"attr": "beta", "op": "equals", "value": true},
           {"all": [{"segment": "staff"},
                    {"attr": "device.kind", "op": "equals", "value": "phone"}]}]}',
 NULL, NULL);

--
-- boolean
--

-- Where we can take money with the new provider.
INSERT INTO ff.flags (key, type, description, default_value, rules, tags, owner) VALUES
('payments-v2', 'boolean', 'The new payment provider', 'false',
 '[{"id": "launched",
    "if": {"attr": "country", "op": "not_in_list", "value": ["BR", "IN"]},
    "serve": "on"}]',
 '["payments"]', 'team-payments');

-- All that a release needs: a prerequisite, single users, a segment, a split and a rollout.
INSERT INTO ff.flags (key, type, description, default_value,
                      requires, overrides, rules, rollout, tags, owner, expires_at) VALUES
('new-checkout', 'boolean', 'One-page checkout', 'false',
 '[{"flag": "payments-v2", "variant": "on"}]',
 '[{"variant": "on", "users": ["user-42"]}, {"variant": "off", "users": ["user-99"]}]',
 '[{"id": "staff", "if": {"segment": "staff"}, "serve": "on"},
   {"id": "dach-pros",
    "if": {"all": [{"segment": "dach"}, {"attr": "plan", "op": "equals", "value": "pro"}]},
    "serve": [{"variant": "on", "weight": 50}, {"variant": "off", "weight": 50}]}]',
 '[{"variant": "on", "weight": 12.5}]',
 '["checkout", "release"]', 'team-checkout', '2027-03-31T00:00:00Z');

-- Versions are compared as semver.org has it: 5.0.0-rc.2 comes before 5.0.0.
INSERT INTO ff.flags (key, type, description, default_value, rules, owner) VALUES
('must-upgrade', 'boolean', 'Ask for an update of the app', 'false',
 '[{"id": "too-old",
    "if": {"attr": "app_version", "op": "semver_less", "value": "4.2.0"},
    "serve": "on"},
   {"id": "prerelease",
    "if": {"all": [{"attr": "app_version", "op": "semver_less", "value": "5.0.0"},
                   {"attr": "app_version", "op": "starts_with", "value": "5.0.0-"}]},
    "serve": "on"}]',
 'team-mobile');

-- A missing attribute makes a condition false, so an unknown age needs a condition of its own.
INSERT INTO ff.flags (key, type, description, default_value, rules, owner) VALUES
('parental-consent', 'boolean', 'Ask for a parent', 'false',
 '[{"id": "minor",
    "if": {"any": [{"attr": "age", "op": "less_than", "value": 16},
                   {"attr": "age", "op": "not_exists"}]},
    "serve": "on"}]',
 'team-legal');

-- Staff, from the office or the VPN.
INSERT INTO ff.flags (key, type, description, default_value, rules, owner) VALUES
('admin-console', 'boolean', 'The console for support', 'false',
 '[{"id": "office",
    "if": {"all": [{"segment": "staff"},
                   {"attr": "ip", "op": "in_cidr", "value": ["10.0.0.0/8", "2001:db8::/32"]}]},
    "serve": "on"}]',
 'team-support');

--
-- string
--

-- An experiment with three arms, for 60 % of the users.
INSERT INTO ff.flags (key, type, description, default_value, variants,
                      rollout, experiment, bucketing, tags, owner) VALUES
('buy-button', 'string', 'The words on the button', '"Buy"',
 '{"control": "Buy", "friendly": "Add to basket", "urgent": "Get it today"}',
 '[{"variant": "control", "weight": 33.334}, {"variant": "friendly", "weight": 33.333},
   {"variant": "urgent", "weight": 33.333}]',
 '{"active": true, "traffic": 60}', '{"salt": "buy-button-2026"}',
 '["experiment"]', 'team-growth');

-- The time it is now, a language by regular expression, and who is new.
INSERT INTO ff.flags (key, type, description, default_value, variants, rules, owner) VALUES
('banner', 'string', 'The line at the top of the page', '""',
 '{"sale": "Winter sale: 20 % off", "sale-de": "Winterschlussverkauf: 20 % Rabatt",
   "welcome": "Good to have you here"}',
 '[{"id": "sale-de",
    "if": {"all": [{"attr": "current_time", "op": "after", "value": "2026-12-27T00:00:00+01:00"},
                   {"attr": "current_time", "op": "before", "value": "2027-01-15T00:00:00+01:00"},
                   {"attr": "locale", "op": "regex", "value": "^de\\b"}]},
    "serve": "sale-de"},
   {"id": "sale",
    "if": {"all": [{"attr": "current_time", "op": "after", "value": "2026-12-27T00:00:00Z"},
                   {"attr": "current_time", "op": "before", "value": "2027-01-15T00:00:00Z"}]},
    "serve": "sale"},
   {"id": "newcomer",
    "if": {"attr": "signup_at", "op": "after", "value": "2026-08-01T00:00:00Z"},
    "serve": "welcome"}]',
 'team-growth');

--
-- number
--

-- By organisation, so that colleagues have the same: 10 % of those in a first wave.
INSERT INTO ff.flags (key, type, description, default_value, variants, rules, bucketing, owner)
VALUES
('upload-limit-mb', 'number', 'Largest file that may be uploaded', '25',
 '{"small": 25, "medium": 100, "large": 512.5}',
 '[{"id": "enterprise",
    "if": {"attr": "plan", "op": "equals", "value": "enterprise"},
    "serve": "large"},
   {"id": "wave-1",
    "if": {"all": [{"segment": "paying"},
                   {"percentage": 10, "by": "org_id", "salt": "uploads-wave-1"}]},
    "serve": "large"},
   {"id": "paying", "if": {"segment": "paying"}, "serve": "medium"}]',
 '{"by": "org_id"}', 'team-storage');

--
-- json
--

INSERT INTO ff.flags (key, type, description, default_value, variants, rules, rollout, owner) VALUES
('search', 'json', 'Which search, and how',
 '{"engine": "classic", "page_size": 20, "fuzzy": false}',
 '{"classic": {"engine": "classic", "page_size": 20, "fuzzy": false},
   "vector": {"engine": "vector", "page_size": 50, "fuzzy": true, "models": ["small", "large"]}}',
 '[{"id": "early", "if": {"segment": "early-adopters"}, "serve": "vector"},
   {"id": "old-apps",
    "if": {"not": {"any": [
        {"attr": "device.os", "op": "equals", "value": "web"},
        {"attr": "app_version", "op": "semver_greater_or_equal", "value": "5.0.0"}]}},
    "serve": "classic"}]',
 '[{"variant": "vector", "weight": 25}]', 'team-search');

-- Plain configuration: no variants, no rules, one value that changes without a deployment.
INSERT INTO ff.flags (key, type, description, default_value, owner) VALUES
('rate-limits', 'json', 'Requests a minute, by route',
 '{"login": 10, "search": 120, "export": {"per_user": 2, "per_org": 20}}', 'team-platform');

COMMIT;
