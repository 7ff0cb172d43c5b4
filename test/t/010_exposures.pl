# Exposures: what is noted, where it goes, and what survives what. With real clusters, because all of it hangs on shared memory
# and a worker.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('exposures', q{shared_preload_libraries = 'ff'}, 'ff.exposure_flush_interval = 1h',
	'ff.exposure_flush_count = 1000000000', 'ff.exposure_buffer_size = 1MB', 'restart_after_crash = on', 'max_worker_processes = 16',
	'max_prepared_transactions = 5');

sub ask { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }
sub comes_true { my ($sql, $database) = @_; return $node->poll_query_until($database // 'postgres', $sql); }
sub wait_for { my ($sql) = @_; comes_true(@_) or die "never true: $sql"; return; }
sub log_contents { return slurp_file($node->logfile); }

my $books = q{SELECT noted = flushed + dropped + buffered AND buffered = (SELECT coalesce(sum(evaluations), 0) FROM ff.exposure_buffer)
	AND entries = (SELECT count(*) FROM ff.exposure_buffer) FROM ff.exposure_stats};
my $counts = q{SELECT noted, flushed, dropped, buffered, refused FROM ff.exposure_stats};
my $worker = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ff worker' AND datname = current_database()};
my $flag = q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
	('exp', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}')};

# ---------- what is noted ----------
ask($flag);
ask(q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment, enabled) VALUES
	('plain', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', NULL, true),
	('ended', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": false}', true),
	('killed', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}', false),
	('small', 'boolean', 'false', '[{"variant": "on", "weight": 100}]', '{"active": true, "traffic": 0}', true)});
is(ask(q{SELECT ff_bool('plain', '{"user_id": "u"}'), ff_bool('ended', '{"user_id": "u"}'), ff_bool('killed', '{"user_id": "u"}'),
	ff_bool('small', '{"user_id": "u"}'); SELECT count(*) FROM ff.exposure_buffer}) =~ /\n0$/, 1,
	'not noted: flags without experiment, an ended one, the kill switch, users outside of its traffic');
is(ask(q{SELECT ff_bool('exp', '{"user_id": "u1"}'); SELECT ff_bool('exp', '{"user_id": "u1"}'); SELECT ff_bool('exp', '{"user_id": "u2"}');
	SELECT count(*) FROM ff_evaluate_all('{"user_id": "u2"}'); SELECT count(*) FROM ff_evaluate('exp', '{"targetingKey": "u2"}');
	SELECT string_agg(user_id || ' ' || evaluations, ',' ORDER BY user_id) FROM ff.exposure_buffer}) =~ /\nu1 2,u2 3$/, 1,
	'every way to evaluate is noted, once for each user, with a count');
ask(q{SELECT count(*) FROM ff_explain('exp', '{"user_id": "explained"}'); EXPLAIN SELECT 1 WHERE ff_bool('exp', '{"user_id": "planned"}') = true});
is(ask(q{SELECT count(*) FROM ff.exposure_buffer WHERE user_id IN ('explained', 'planned')}), '0', 'neither an explanation nor a plan notes');
is(ask(q{SET ff.exposure_mode = off; SELECT ff_bool('exp', '{"user_id": "off"}'); RESET ff.exposure_mode;
	BEGIN; SET LOCAL ff.exposure_mode = off; SELECT ff_bool('exp', '{"user_id": "off"}'); COMMIT; SELECT ff_bool('exp', '{"user_id": "after"}');
	SELECT string_agg(user_id, ' ') FROM ff.exposure_buffer WHERE user_id IN ('off', 'after')}) =~ /\nafter$/, 1, 'ff.exposure_mode = off, for a session and a transaction');
ask(q{CREATE ROLE analyst LOGIN; ALTER ROLE analyst SET ff.exposure_mode = off});
$node->safe_psql('postgres', q{SELECT ff_bool('exp', '{"user_id": "analysed"}')}, extra_params => [ '-U', 'analyst' ]);
is(ask(q{SELECT count(*) FROM ff.exposure_buffer WHERE user_id = 'analysed'}), '0', '... and for a role');
is(ask(q{SET ff.exposure_mode = 'all'; SELECT ff_bool('plain', '{"user_id": "all"}'); SELECT ff_bool('killed', '{"user_id": "all"}'); SELECT ff_bool('none', '{"user_id": "all"}');
	SELECT string_agg(flag_key || ' ' || variant_key || ' ' || reason, ',' ORDER BY flag_key) FROM ff.exposure_buffer WHERE user_id = 'all'}) =~
	/\nkilled off KILL_SWITCH,plain (on|off) (ROLLOUT|DEFAULT)$/, 1, 'ff.exposure_mode = all: every flag that serves a variant');
is(ask(q{SELECT ff_string('exp', '{"user_id": "typed"}', 'fallback'); SELECT count(*) FROM ff.exposure_buffer WHERE user_id = 'typed'}), "fallback\n0",
	'who got the fallback for its type was not exposed');
is(ask(q{SELECT ff_bool('exp', jsonb_build_object('user_id', repeat('x', 512)));
	SELECT ff_bool('exp', jsonb_build_object('user_id', repeat('y', 513))); SELECT max(length(user_id)), (SELECT refused FROM ff.exposure_stats) FROM ff.exposure_buffer}) =~
	/\n512\|1$/, 1, 'an id of 512 bytes is kept whole; a longer one is refused and counted');
ask(q{DO $$ BEGIN FOR i IN 1 .. 3 LOOP PERFORM ff_bool('exp', '{"user_id": "aborted"}'); END LOOP; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END $$});
$node->psql('postgres', q{SELECT ff_bool('exp', '{"user_id": "aborted"}'), 1 / (SELECT 0)});
is(ask(q{SELECT evaluations FROM ff.exposure_buffer WHERE user_id = 'aborted'}), '4', 'what was shown stays noted when its transaction fails');
is(ask($books), 't', 'the books are right');

# ---------- the table sink ----------
my $rows = ask(q{SELECT count(*) FROM ff.exposure_buffer});
is(ask(q{SELECT ff_flush_exposures()}), $rows, 'all of it is flushed');
is(ask(q{SELECT count(*) FROM ff.exposures}), $rows, '... into the table');
is(ask(q{SELECT count(*) FROM ff.exposure_buffer}), '0', '... and out of the buffer');
is(ask($books), 't', 'the books are right after a flush');
is(ask(q{SELECT sum(evaluations) FROM ff.exposures}), ask(q{SELECT flushed FROM ff.exposure_stats}), 'flushed counts evaluations');
is(ask(q{SELECT evaluations, unique_users FROM ff.exposure_counts WHERE flag_key = 'plain'}), '1|0', 'counted; of no experiment it has no users');
is(ask(q{SELECT evaluations, unique_users FROM ff.exposure_counts WHERE flag_key = 'small' OR flag_key = 'exp' AND variant_key = 'on'}), ask(q{SELECT sum(evaluations), count(DISTINCT user_id) FROM ff.exposures WHERE flag_key = 'exp' AND variant_key = 'on'}), '... and an experiment has');
is(ask(q{SELECT (SELECT sum(evaluations) FROM ff.exposure_hourly) = (SELECT sum(evaluations) FROM ff.exposures)}), 't', 'by the hour, too');
ask(q{BEGIN; SELECT ff_bool('exp', '{"user_id": "rolled"}'); SELECT ff_flush_exposures(); ROLLBACK});
is(ask(q{SELECT count(*) FROM ff.exposure_buffer WHERE user_id = 'rolled'}), '1', 'a flush that is rolled back leaves everything where it was');
ask(q{BEGIN; SAVEPOINT a; SELECT ff_flush_exposures(); ROLLBACK TO a; SELECT ff_bool('exp', '{"user_id": "saved"}'); SAVEPOINT b;
	SELECT ff_flush_exposures(); SELECT ff_flush_exposures(); RELEASE b; COMMIT});
is(ask(q{SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM ff.exposures WHERE user_id IN ('rolled', 'saved')}), 'rolled saved', 'savepoints: written once');
is(ask(q{SELECT count(*) FROM ff.exposure_buffer}), '0', '... and nothing is left');
my ($code, $out, $error) = $node->psql('postgres', q{BEGIN; SELECT ff_bool('exp', '{"user_id": "prepared"}'); SELECT ff_flush_exposures(); PREPARE TRANSACTION 'x'});
like($error, qr/cannot PREPARE a transaction that has flushed exposures/, 'no PREPARE after a flush');
ask(q{SELECT ff_flush_exposures()});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'prepared'}), '1', '... which loses nothing');

# assignments, crossovers, runs
ask(q{SET ff.allow_experiment_change = on; INSERT INTO ff.flags (key, type, default_value, overrides, experiment) VALUES
	('cross', 'boolean', 'false', '[{"users": ["c1"], "variant": "on"}]', '{"active": true}');
	SELECT ff_bool('cross', '{"user_id": "c1"}'), ff_bool('cross', '{"user_id": "c2"}'); SELECT ff_flush_exposures();
	UPDATE ff.flags SET overrides = '[{"users": ["c2"], "variant": "on"}]' WHERE key = 'cross';
	SELECT ff_bool('cross', '{"user_id": "c1"}'), ff_bool('cross', '{"user_id": "c2"}'); SELECT ff_flush_exposures();
	SELECT ff_bool('cross', '{"user_id": "c1"}'); SELECT ff_flush_exposures()});
is(ask(q{SELECT string_agg(user_id || variant_key, ' ' ORDER BY user_id) FROM ff.assignments WHERE flag_key = 'cross'}), 'c1on c2off', 'the first variant stays');
is(ask(q{SELECT string_agg(user_id || first_variant_key || variant_key, ' ' ORDER BY user_id) FROM ff.crossovers}), 'c1onoff c2offon', 'crossovers are listed');
is(ask(q{SELECT string_agg(variant_key || unique_users, ' ' ORDER BY variant_key) FROM ff.exposure_counts WHERE flag_key = 'cross'}), 'off2 on2',
	'unique users: each counts once for each variant');
ask(q{UPDATE ff.flags SET experiment = jsonb_build_object('active', true, 'started_at', to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.USOF:00')) WHERE key = 'cross';
	SELECT pg_sleep(0.01); SELECT ff_bool('cross', '{"user_id": "c1"}'); SELECT ff_flush_exposures()});
is(ask(q{SELECT string_agg(user_id || variant_key, ' ' ORDER BY user_id) FROM ff.assignments WHERE flag_key = 'cross'}), 'c1off c2off', 'a new run assigns anew');
is(ask(q{SELECT string_agg(user_id, ' ') FROM ff.crossovers}), 'c2', '... and forgets the crossovers of the former');
is(ask(q{SELECT string_agg(variant_key || unique_users, ' ' ORDER BY variant_key) FROM ff.exposure_counts WHERE flag_key = 'cross'}), 'off2 on1', '... in the counts, too');

# ---------- a full buffer ----------
ask(q{SELECT count(ff_bool('exp', jsonb_build_object('user_id', 'full' || g))) FROM generate_series(1, 50000) g});
is(ask(q{SELECT dropped > 0 AND buffered > 4000 AND dropped + buffered = 50000 FROM ff.exposure_stats}), 't', 'a full buffer drops, and counts');
is(ask($books), 't', 'the books are right when it is full');
ask(q{SELECT ff_flush_exposures()});
is(ask($books), 't', '... and after it was flushed');

# ---------- many sessions, and readers of the books ----------
my @sessions = map { Ff::session($node) } 1 .. 8;
$_->do(q{SELECT count(ff_bool('exp', jsonb_build_object('user_id', 'many' || g % 500))) FROM generate_series(1, 20000) g}, { pg_async => 1 }) for @sessions;
my $wrong = 0;
my $before = ask(q{SELECT noted FROM ff.exposure_stats});
for (1 .. 20) { $wrong++ if ask(q{SELECT noted = flushed + dropped + buffered FROM ff.exposure_stats}) ne 't'; ask(q{SELECT ff_flush_exposures()}) if $_ % 5 == 0; }
$_->pg_result for @sessions;
is($wrong, 0, 'noted = flushed + dropped + buffered, while eight sessions note and another flushes');
ask(q{SELECT ff_flush_exposures()});
is(ask(q{SELECT sum(evaluations) FROM ff.exposures WHERE user_id LIKE 'many%'}), '160000', 'none of their evaluations is lost');
$_->disconnect for @sessions;
is(ask(q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
	CREATE TABLE people AS SELECT 'parallel' || g AS id FROM generate_series(1, 4000) g; ALTER TABLE people SET (parallel_workers = 2); ANALYZE people;
	SELECT count(*) FROM people WHERE ff_bool('exp', jsonb_build_object('user_id', id)) IS NOT NULL; SELECT ff_flush_exposures();
	SELECT sum(evaluations) FROM ff.exposures WHERE user_id LIKE 'parallel%'}) =~ /\n4000$/, 1, 'parallel workers note, too');

# ---------- failures ----------
ask(q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.user_id ~ '^broken' THEN RAISE 'a broken row'; END IF; RETURN NEW; END $$;
	CREATE TRIGGER refuse BEFORE INSERT ON ff.exposures FOR EACH ROW EXECUTE FUNCTION refuse();
	SELECT count(ff_bool('exp', jsonb_build_object('user_id', 'good' || g))) FROM generate_series(1, 1000) g;
	SELECT ff_bool('exp', '{"user_id": "broken1"}'), ff_bool('exp', '{"user_id": "broken2"}')});
is(ask(q{SELECT ff_flush_exposures()}), '1000', 'a broken row never blocks the rest');
is(ask(q{SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM ff.exposure_buffer}), 'broken1 broken2', '... and stays');
is(ask(q{SELECT errors > 0 AND last_error = 'a broken row' FROM ff.exposure_stats}), 't', '... with its reason in ff.exposure_stats');
for my $attempt (1 .. 12) { $node->psql('postgres', qq{SELECT ff_bool('exp', '{"user_id": "more$attempt"}'); SELECT ff_flush_exposures()}); }
is(ask(q{SELECT count(*) FROM ff.exposure_buffer}), '0', 'it is given up after ten attempts');
is(ask($books), 't', '... and counted as dropped');
ask(q{DROP TRIGGER refuse ON ff.exposures});

ask(q{SELECT ff_bool('exp', '{"user_id": "late"}'); ALTER TABLE ff.exposures RENAME TO exposures_away});
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_flush_exposures()});
isnt($code, 0, 'without its table a flush fails');
is(ask(q{SELECT user_id FROM ff.exposure_buffer}), 'late', '... and everything is kept');
ask(q{ALTER TABLE ff.exposures_away RENAME TO exposures; SELECT ff_flush_exposures()});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'late'}), '1', '... until it is there again');

# the worker meets the same, and goes on by itself
$node->append_conf('postgresql.conf', "ff.exposure_flush_interval = 200ms\nff.exposure_flush_count = 100");
$node->reload;
ask(q{ALTER TABLE ff.exposures RENAME TO exposures_away; SELECT ff_bool('exp', '{"user_id": "patient"}')});
wait_for(q{SELECT last_error ~ 'exposures' FROM ff.exposure_stats});
ask(q{ALTER TABLE ff.exposures_away RENAME TO exposures});
ok(comes_true(q{SELECT count(*) = 1 FROM ff.exposures WHERE user_id = 'patient'}), 'the worker tries again after a failure');
my $blocker = Ff::session($node);
$blocker->do(q{BEGIN; LOCK TABLE ff.exposures IN ACCESS EXCLUSIVE MODE});
ask(q{SELECT ff_bool('exp', '{"user_id": "locked"}')});
wait_for(q{SELECT last_error ~ 'lock timeout' FROM ff.exposure_stats});
is(ask(q{SELECT user_id FROM ff.exposure_buffer}), 'locked', 'a lock that is not given: kept');
$blocker->do('ROLLBACK');
ok(comes_true(q{SELECT count(*) = 1 FROM ff.exposures WHERE user_id = 'locked'}), '... and written later');
$blocker->disconnect;

# ---------- the worker's life ----------
$node->append_conf('postgresql.conf', "ff.exposure_flush_interval = 1h\nff.exposure_flush_count = 100");
$node->reload;
my $old = ask(q{SELECT worker_pid FROM ff.exposure_stats});
ask(q{SELECT ff_bool('exp', '{"user_id": "terminated"}'); SELECT pg_terminate_backend(worker_pid) FROM ff.exposure_stats});
wait_for(qq{SELECT worker_pid <> $old FROM ff.exposure_stats});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'terminated'}), '1', 'a worker that is terminated flushes first, and another one comes');
ask(q{SELECT count(ff_bool('exp', jsonb_build_object('user_id', 'hundred' || g))) FROM generate_series(1, 150) g});
ok(comes_true(q{SELECT count(*) >= 100 FROM ff.exposures WHERE user_id LIKE 'hundred%'}), 'ff.exposure_flush_count new ones are flushed before the interval is over');
ask('CREATE DATABASE other');
ask('CREATE EXTENSION ff', 'other');
ok(comes_true($worker, 'other'), 'a database that gets the extension gets a worker');
ask($flag . q{; SELECT ff_bool('exp', '{"user_id": "u"}')}, 'other');
is(ask(q{SELECT count(*) FROM ff.exposure_buffer}, 'other'), '1', 'its exposures are its own');
is(ask(q{SELECT count(*) FROM ff.exposure_buffer WHERE user_id = 'u'}), '0', '... and nobody else sees them');
ask('CREATE DATABASE copy TEMPLATE other');
is(ask('SELECT count(*) FROM ff.flags', 'copy'), '1', 'a database with a worker can be copied');
$node->restart;
wait_for($worker, 'other');
wait_for($worker);
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'u'}, 'other'), '1', 'after a restart each has its worker; nothing was lost');
ask('ALTER DATABASE copy RENAME TO copied');
ask('DROP DATABASE copied');
is(ask(q{SELECT count(*) FROM pg_database WHERE datname IN ('copy', 'copied')}), '0', 'a database with a worker can be renamed, and dropped');
ask('DROP EXTENSION ff', 'other');
ok(comes_true(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'ff worker' AND datname = 'other'}), 'the worker goes with the extension');

# ---------- memory, and restarts ----------
$node->append_conf('postgresql.conf', "ff.exposure_sink = 'memory'");
$node->reload;
ask(q{SELECT count(ff_bool('exp', jsonb_build_object('user_id', 'kept' || g))) FROM generate_series(1, 300) g});
is(ask(q{SELECT ff_flush_exposures(), (SELECT count(*) FROM ff.exposure_buffer)}), '0|300', 'the memory sink keeps them');
$node->restart;
is(ask(q{SELECT count(*) FROM ff.exposure_buffer}), '300', '... over a restart');
is(ask($books), 't', '... and in the books');

# ---------- files ----------
my $directory = $node->basedir . '/lines';
mkdir $directory;
$node->append_conf('postgresql.conf', "ff.exposure_sink = 'file'\nff.exposure_directory = '$directory'\nff.exposure_file_size = 64kB");
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'file'});
ask(q{SELECT ff_bool('exp', '{"user_id": "a \"quoted\" \\\\ id"}'); SELECT ff_flush_exposures();
	SELECT count(ff_bool('exp', jsonb_build_object('user_id', 'line' || g))) FROM generate_series(1, 700) g; SELECT ff_flush_exposures();
	SELECT ff_bool('exp', '{"user_id": "last"}'); SELECT ff_flush_exposures()});
wait_for(q{SELECT buffered = 0 FROM ff.exposure_stats});
my @files = glob "$directory/exposures-*.jsonl";
cmp_ok(scalar @files, '>', 1, 'files are rotated by size');
my @lines = map { split /\n/, slurp_file($_) } @files;
is(scalar @lines, 1002, 'every exposure is a line of a file');
ask('CREATE TABLE lines (line jsonb)');
my $session = Ff::session($node);
$session->do('INSERT INTO lines VALUES (?)', undef, $_) for @lines;
is(ask(q{SELECT count(*) FROM lines WHERE line ->> 'flag_key' = 'exp' AND (line ->> 'exposed_at')::timestamptz > now() - interval '1 hour' AND line ->> 'variant_key' IN ('on', 'off')}),
	'1002', '... and JSON');
is(ask(q{SELECT count(*) FROM lines WHERE line ->> 'user_id' = 'a "quoted" \\ id'}), '1', '... whatever is in it');
$session->disconnect;
chmod 0500, $directory;
$node->append_conf('postgresql.conf', "ff.exposure_directory = '$directory/none'");
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_directory') ~ 'none$'});
ask(q{SELECT ff_bool('exp', '{"user_id": "unwritten"}')});
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_flush_exposures()});
like($error, qr/could not open file.*\n.*ff\.exposure_directory must be a directory/s, 'a directory that is not there');
is(ask(q{SELECT user_id FROM ff.exposure_buffer}), 'unwritten', '... loses nothing');
chmod 0700, $directory;
$node->append_conf('postgresql.conf', "ff.exposure_sink = 'table'");
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'table'});
ask(q{SELECT ff_flush_exposures()});

# ---------- partitions ----------
ask(q{INSERT INTO ff.exposures (namespace, flag_key, variant_key, user_id, exposed_at, reason) SELECT 'default', 'exp', 'on', 'late', t, 'ROLLOUT'
	FROM unnest(ARRAY[now() - interval '1 year', now() + interval '1 year', 'infinity', '-infinity']) t});
is(ask(q{SELECT count(*) FROM ff.exposures_default}), '4', 'rows that are late or early are never refused');
is(ask(q{SELECT count(*) >= 8 FROM pg_inherits WHERE inhparent = 'ff.exposures'::regclass}), 't', 'partitions are made ahead of time');
ask(q{DROP TABLE ff.exposures_} . ask(q{SELECT to_char(now() AT TIME ZONE 'UTC' + interval '7 days', 'YYYYMMDD')}));
ask(q{INSERT INTO ff.exposures (namespace, flag_key, variant_key, user_id, exposed_at, reason) VALUES ('default', 'exp', 'on', 'early', now() + interval '7 days', 'ROLLOUT')});
is(ask(q{SELECT partitions_made, rows_deleted FROM ff_maintain()}), '1|2', 'ff_maintain makes what is missing, and deletes what is older than ff.exposure_retention');
is(ask(q{SELECT tableoid::regclass::text ~ 'exposures_[0-9]+$' FROM ff.exposures WHERE user_id = 'early'}), 't', '... and moves there what came before');
ask(q{CREATE TABLE ff.exposures_old PARTITION OF ff.exposures FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')});
my $reader = Ff::session($node);
$reader->do('BEGIN');
$reader->do('SELECT count(*) FROM ff.exposures');
($code, $out, $error) = $node->psql('postgres', 'SELECT * FROM ff_maintain()');
like($error, qr/lock timeout/, 'a reader puts the dropping of old partitions off');
ask(q{SELECT ff_bool('exp', '{"user_id": "beside"}'); SELECT ff_flush_exposures()});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'beside'}), '1', '... and holds up no flush');
$reader->do('COMMIT');
$reader->disconnect;
is(ask(q{SELECT partitions_dropped FROM ff_maintain()}), '1', 'an old partition goes as a whole');

# ---------- dump ----------
$node->append_conf('postgresql.conf', "ff.exposure_retention = 0");
$node->reload;
my $derived = q{SELECT (SELECT count(*) FROM ff.exposures), (SELECT sum(evaluations) FROM ff.exposure_counts), (SELECT count(*) FROM ff.assignments), (SELECT count(*) FROM ff.crossovers)};
my $was = ask($derived);
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', 'postgres' ], 'pg_dump');
ask('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--single-transaction', '-d', 'restored', '--no-owner', $node->basedir . '/dump' ], 'pg_restore');
is(ask($derived, 'restored'), $was, 'exposures, partitions and what is derived of them are dumped and restored');

# ---------- a crash ----------
ask(q{SELECT ff_bool('exp', '{"user_id": "written"}'); SELECT ff_flush_exposures(); SELECT ff_bool('exp', '{"user_id": "unflushed"}')});
my $victim = Ff::session($node);
kill 'KILL', $victim->{pg_pid};
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
is(ask(q{SELECT string_agg(user_id, ' ') FROM ff.exposures WHERE user_id IN ('written', 'unflushed')}), 'written', 'a crash loses what was not flushed, and no more');
is(ask($books), 't', '... and the books begin anew');
ok(comes_true($worker), '... with a worker');
ok(!-e $node->data_dir . '/pg_stat/ff_exposures.stat', 'nothing is left in a file');

# ---------- not preloaded ----------
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_bool('exp', '{"user_id": "u"}') IS NOT NULL; SELECT ff_bool('exp', '{"user_id": "u"}') IS NOT NULL});
is($out, "t\nt", 'without preloading evaluation is the same');
is(() = $error =~ /WARNING:  exposures are not recorded/g, 1, '... with one warning in a session');
like($error, qr/HINT:  Add ff to shared_preload_libraries/, '... that says what to do');
is(ask(q{SELECT preloaded, problem ~ 'not recorded', hint ~ 'shared_preload_libraries' FROM ff_status()}), 'f|t|t', 'ff_status() says so');
is(ask(q{SELECT ff_flush_exposures(), (SELECT count(*) FROM ff.exposure_buffer)}), '0|0', 'nothing to flush, and no error');

$node->stop;
done_testing();
