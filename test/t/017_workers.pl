# The launcher and the workers: whoever dies comes back, there is one worker for each database, and upkeep goes on beside what is
# in its way.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('workers', q{shared_preload_libraries = 'ff'}, 'ff.exposure_flush_interval = 1h', 'ff.exposure_flush_count = 1000000000',
	'max_worker_processes = 16', 'log_min_messages = debug1');

sub ask { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }
sub comes_true { my ($sql, $database) = @_; return $node->poll_query_until($database // 'postgres', $sql); }
sub wait_for { my ($sql) = @_; comes_true(@_) or die "never true: $sql"; return; }
sub logged { my ($what) = @_; return scalar(() = slurp_file($node->logfile) =~ /$what/g); }
sub expose { my ($user, $database) = @_; return ask(qq{SELECT ff_bool('exp', '{"user_id": "$user"}')}, $database); }
sub pid_of { my ($type, $database) = @_; return ask(qq{SELECT pid FROM pg_stat_activity WHERE backend_type = 'ff $type'} . ($database ? qq{ AND datname = '$database'} : '')); }

my $flag = q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
	('exp', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}')};
my $worker = q{SELECT worker_pid IS NOT NULL FROM ff.exposure_stats};
my $books = q{SELECT noted, dropped, buffered FROM ff.exposure_stats};

ask($flag);
ask('CREATE DATABASE other');
ask("CREATE EXTENSION ff; $flag", 'other');
ask('CREATE DATABASE plain');
wait_for($worker, $_) for qw(postgres other);

# ---------- the launcher ----------

sub wait_for_launcher
{
	my ($former) = @_;
	wait_for(qq{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ff launcher' AND pid <> $former AND wait_event = 'Extension'});
	return;
}

# How often a worker was asked for, by the postmaster's log. A new launcher asks for one in database plain, too, which is last in
# pg_database and has no extension: when that one has started, all that were asked for before are in the log.
my %oid = map { $_ => ask("SELECT oid FROM pg_database WHERE datname = '$_'") } qw(postgres other plain);
sub asked { my ($database) = @_; return logged(qq{registering background worker "ff worker for database $oid{$database}"}); }

for my $end (qw(pg_terminate_backend pg_cancel_backend))
{
	my $launcher = pid_of('launcher');
	my $asked = asked('postgres') + asked('other');
	my $log = -s $node->logfile;
	ask("SELECT $end($launcher)");
	wait_for_launcher($launcher);
	pass("$end: the launcher comes back");
	$node->wait_for_log(qr/starting background worker process "ff worker for database $oid{plain}"/, $log);
	is(asked('postgres') + asked('other'), $asked, '... and takes over the workers that are there');
}
my $before = pid_of('worker', 'postgres');
expose('adopted');
ask("SELECT pg_terminate_backend($before)");
wait_for(qq{SELECT worker_pid <> $before FROM ff.exposure_stats});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'adopted'}), '1', 'a worker that was taken over flushes when it is terminated, and another one comes');
ask('ALTER DATABASE other RENAME TO another');
ask('CREATE DATABASE copy TEMPLATE another');
ask('DROP DATABASE copy');
ask('DROP DATABASE another');
is(ask(q{SELECT count(*) FROM pg_database WHERE datname IN ('other', 'another', 'copy')}), '0', 'a database whose worker was taken over can be renamed, copied and dropped');

# ---------- databases that take no worker ----------
ask('CREATE DATABASE shown');
ask("CREATE EXTENSION ff; $flag", 'shown');
wait_for($worker, 'shown');
$node->append_conf('postgresql.conf', q{ff.exposure_sink = 'memory'});
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'memory'}, 'shown');
expose('kept', 'shown');
ask('ALTER DATABASE shown IS_TEMPLATE true');
wait_for(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'ff worker' AND datname = 'shown'});
my $launcher = pid_of('launcher');
ask("SELECT pg_terminate_backend($launcher)");
wait_for_launcher($launcher);
is(ask($books, 'shown'), '1|0|1', 'a database that becomes a template keeps what is noted, whatever the launcher sees');
$node->append_conf('postgresql.conf', q{ff.exposure_sink = 'table'});
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'table'}, 'shown');
is(ask(q{SELECT problem, hint FROM ff_status()}, 'shown'), 'this database is a template, where no worker may be: exposures stay in memory|'
	. 'SELECT ff_flush_exposures(), or ALTER DATABASE with IS_TEMPLATE false.', '... ff_status() says why no worker is there');
ask('ALTER DATABASE shown IS_TEMPLATE false ALLOW_CONNECTIONS false');
$launcher = pid_of('launcher');
ask("SELECT pg_terminate_backend($launcher)");
wait_for_launcher($launcher);
ask('ALTER DATABASE shown ALLOW_CONNECTIONS true');
is(ask($books, 'shown'), '1|0|1', '... so does one that takes no connections');
ok(comes_true($worker, 'shown'), '... and has a worker again when it may');

# ---------- errors ----------
my $long = 'ä' x 200;
$node->psql('shown', qq{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'x$long'; END \$\$;
	CREATE TRIGGER refuse BEFORE INSERT ON ff.exposures FOR EACH ROW EXECUTE FUNCTION refuse()});
ask(q{SELECT pg_terminate_backend(worker_pid) FROM ff.exposure_stats}, 'shown');
wait_for(q{SELECT errors > 0 FROM ff.exposure_stats}, 'shown');
is(ask(q{SELECT length(last_error), right(last_error, 1) = 'ä', (SELECT user_id FROM ff.exposure_buffer) FROM ff.exposure_stats}, 'shown'), '128|t|kept', 'a long error is cut after a character');

# ---------- upkeep beside others ----------
# The day's partition is made while a row for it is on its way.
expose('moving');
ask(q{DROP TABLE ff.exposures_} . ask(q{SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')}));
my $upkeep = Ff::session($node);
my $flush = Ff::session($node);
my $pid = Ff::value($flush, 'SELECT pg_backend_pid()');
$upkeep->do('BEGIN');
is(Ff::value($upkeep, 'SELECT partitions_made FROM ff_maintain()'), 1, 'a partition is made');
$flush->do('SELECT ff_flush_exposures()', { pg_async => 1 });
wait_for(qq{SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid});
$upkeep->do('COMMIT');
ok(eval { $flush->pg_result; 1 }, 'a flush waits for who makes partitions, and then finds them') or diag($@);
is(ask(q{SELECT tableoid::regclass::text ~ 'exposures_[0-9]+$' FROM ff.exposures WHERE user_id = 'moving'}), 't', '... and its rows are where they belong');
$_->disconnect for ($upkeep, $flush);

# A reader of an old partition, and a view on another, keep only these from being dropped.
ask(qq{CREATE TABLE ff.exposures_old$_ PARTITION OF ff.exposures FOR VALUES FROM ('202$_-01-01') TO ('202$_-02-01')}) for 0 .. 2;
ask('CREATE VIEW report AS SELECT count(*) FROM ff.exposures_old0');
my $reader = Ff::session($node);
$reader->do('BEGIN');
$reader->do('SELECT count(*) FROM ff.exposures_old1');
my (undef, $out, $error) = $node->psql('postgres', 'SELECT * FROM ff_maintain()');
is($out, '0|1|0', 'an old partition goes while others are held');
like($error, qr/WARNING:  could not drop ff\.exposures_old0, which is older than ff\.exposure_retention: .*\nDETAIL:  view public\.report depends.*\nHINT:  It is tried again/, '... one, by a view: a warning says so') or diag($error);
like($error, qr/WARNING:  could not drop ff\.exposures_old1, .*lock timeout\nHINT:  Somebody uses it/, '... one, by a reader');
is(ask(q{SELECT last_error ~ 'lock timeout' FROM ff.exposure_stats}), 't', '... ff.exposure_stats has the last');
$reader->do('COMMIT');
$reader->disconnect;
is(ask('SELECT partitions_dropped FROM ff_maintain()'), '1', '... and it goes when the reader has gone');
ask('DROP VIEW report');
$before = pid_of('worker', 'postgres');
ask("SELECT pg_terminate_backend($before)");
ok(comes_true(q{SELECT to_regclass('ff.exposures_old0') IS NULL}), 'the worker drops the other one');

# ---------- a standby ----------
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('workers_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', 'SELECT * FROM ff_maintain()'), '0|0|0', 'upkeep of a standby is nothing to do, and no error');
$standby->stop;

$node->stop;
done_testing();
