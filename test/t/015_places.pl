# When there are more databases than places in the buffer, or than background workers: evaluation goes on, what can be kept is
# kept, it is said, and it goes on when there is room again.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('places', q{shared_preload_libraries = 'ff'}, 'ff.exposure_flush_interval = 1h', 'ff.exposure_flush_count = 1000000000',
	'ff.max_databases = 2', 'max_worker_processes = 8', 'max_logical_replication_workers = 0');

sub ask { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }
sub comes_true { my ($sql, $database) = @_; return $node->poll_query_until($database // 'postgres', $sql); }
sub wait_for { my ($sql) = @_; comes_true(@_) or die "never true: $sql"; return; }
sub set { $node->append_conf('postgresql.conf', join("\n", @_)); $node->reload; return; }
sub logged { my ($what) = @_; return scalar(() = slurp_file($node->logfile) =~ /$what/g); }

my $books = q{SELECT noted = flushed + dropped + buffered AND buffered = (SELECT coalesce(sum(evaluations), 0) FROM ff.exposure_buffer)
	AND entries = (SELECT count(*) FROM ff.exposure_buffer) FROM ff.exposure_stats};
my $worker = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ff worker' AND datname = current_database()};
my $flag = q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
	('exp', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}')};

# Has users evaluate the flag, each once.
sub expose
{
	my ($prefix, $count, $database) = @_;
	return ask(qq{SELECT count(ff_bool('exp', jsonb_build_object('user_id', '$prefix' || g))) FROM generate_series(1, $count) g}, $database);
}

ask($flag);
wait_for($worker);

# ---------- more databases than places ----------
sub restart_with { $node->append_conf('postgresql.conf', join("\n", @_)); $node->restart; return; }

ask("CREATE DATABASE $_") for qw(second third);
ask('CREATE EXTENSION ff', 'second');
wait_for($worker, 'second');
my (undef, undef, $said) = $node->psql('third', 'CREATE EXTENSION ff');
my $no_room = 'there is no room for the exposures of database "third"\n.*DETAIL:  They are not recorded.\n.*HINT:  Raise ff.max_databases, and restart the server.';
like($said, qr/WARNING:  $no_room/, 'who creates the extension where there is no place is told');
cmp_ok(logged("WARNING:  $no_room"), '>=', 1, '... so is the log');
ask($flag, 'third');
is(expose('outside', 10, 'third'), '10', '... evaluation goes on');
is(ask(q{SELECT problem, hint FROM ff_status()}, 'third'),
	'there is no room for this database: its exposures are not recorded|Raise ff.max_databases and restart the server.', '... ff_status() says so');
is(ask(q{SELECT ff_flush_exposures(), (SELECT count(*) FROM ff.exposure_buffer), (SELECT noted IS NULL FROM ff.exposure_stats)}, 'third'), '0|0|t', '... there are no books');
expose('inside', 10);
is(ask($books), 't', '... those of others are right');
is(ask(q{SELECT ff_flush_exposures(); SELECT count(*) FROM ff.exposures WHERE user_id LIKE 'inside%'}), "10\n10", '... and their exposures go where they should');
ask('DROP EXTENSION ff', 'second');
ok(comes_true($worker, 'third'), 'a place that becomes free is taken by whom it was refused');
expose('inside', 10, 'third');
is(ask($books, 'third'), 't', '... whose books begin');
is(ask(q{SELECT noted FROM ff.exposure_stats}, 'third'), '10', '... and are right');
ask('CREATE EXTENSION ff', 'second');
$node->restart;
$node->wait_for_log(qr/LOG:  there is no room for the exposures of database "(postgres|second|third)"/);
pass('after a restart, the worker that finds no place says so in the log');

# ---------- fewer processes than databases ----------
restart_with('ff.max_databases = 10', 'max_worker_processes = 2');
ask('DROP DATABASE second');
wait_for(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ff worker' AND datname IN ('postgres', 'third') AND state = 'idle'});
my ($with) = ask(q{SELECT datname FROM pg_stat_activity WHERE backend_type = 'ff worker'});
my ($without) = grep { $_ ne $with } qw(postgres third);
expose('waiting', 5, $without);
my $no_process = qq{LOG:  there is no background worker left for database "$without"\n.*DETAIL:  Its exposures stay in memory until there is one.\n.*HINT:  Raise max_worker_processes};
$node->wait_for_log(qr/$no_process/);
pass('a database for which there is no process: said in the log');
is(ask(q{SELECT problem, hint FROM ff_status()}, $without), 'no worker is there: exposures stay in memory|Look into the server\'s log; max_worker_processes may be too low.',
	'... and by ff_status()');
is(ask(q{SELECT buffered, dropped, worker_pid IS NULL FROM ff.exposure_stats}, $without), '5|0|t', '... exposures are kept');
is(ask($books, $without), 't', '... the books are right');
is(ask(q{SELECT ff_flush_exposures(); SELECT count(*) FROM ff.exposures WHERE user_id LIKE 'waiting%'}, $without), "5\n5", '... and written down for who asks for it');
expose('again', 5, $without);

# A process becomes free, because its database may have no worker; what was noted there stays.
set(q{ff.exposure_sink = 'memory'});
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'memory'}, $without);
expose('closed', 3, $with);
ask(qq{ALTER DATABASE $with ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'ff worker'}, $without);
ok(comes_true($worker, $without), 'a process that becomes free is taken by whom it was refused');
ask(qq{ALTER DATABASE $with ALLOW_CONNECTIONS true}, $without);
is(ask(q{SELECT buffered FROM ff.exposure_stats}, $with), '3', 'a database that takes no connections for a while keeps its exposures');
is(logged($no_process), 1, 'all that was said once');
restart_with('max_worker_processes = 8', q{ff.exposure_sink = 'table'}, 'ff.exposure_flush_interval = 100ms');
ok(comes_true(q{SELECT count(*) = 5 FROM ff.exposures WHERE user_id LIKE 'again%'}, $without), 'with processes for all, what was kept is written down');
ok(comes_true(q{SELECT count(*) = 3 FROM ff.exposures WHERE user_id LIKE 'closed%'}, $with), '... for each database');

$node->stop;
done_testing();
