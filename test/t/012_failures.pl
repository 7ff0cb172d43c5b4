# When something fails that the worker needs: catalogs, disks, places, processes. Nothing is lost or
# written twice, the books are right, somebody is told, and it goes on when it can.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = PostgreSQL::Test::Cluster->new('failures');

# Segments of the log are small: a limit for the size of files that they keep to can be met by tables.
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8', '--wal-segsize=1' ]);
$node->append_conf('postgresql.conf', join("\n", 'fsync = off', 'autovacuum = off', q{shared_preload_libraries = 'ff'},
	'ff.exposure_flush_interval = 1h', 'ff.exposure_flush_count = 1000000000', 'max_worker_processes = 8', 'max_logical_replication_workers = 0'));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ff');

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

# ---------- a worker that can't see whether the extension is there ----------
my $blocker = Ff::session($node);
my $waiting = q{FROM pg_stat_activity WHERE backend_type = 'ff worker' AND wait_event_type = 'Lock'};
my $old = ask(q{SELECT worker_pid FROM ff.exposure_stats});
expose('early', 3);
$blocker->do('BEGIN');
$blocker->do('LOCK TABLE pg_extension IN ACCESS EXCLUSIVE MODE');
ask(q{SELECT pg_terminate_backend(worker_pid) FROM ff.exposure_stats});
wait_for(qq{SELECT count(pg_cancel_backend(pid)) = 1 $waiting AND pid = $old});
wait_for(qq{SELECT count(pg_cancel_backend(pid)) = 1 $waiting AND pid <> $old});
wait_for(q{SELECT errors >= 2 FROM ff.exposure_stats});
wait_for(qq{SELECT count(pg_cancel_backend(pid)) = 1 $waiting AND pid <> $old});
wait_for(q{SELECT errors >= 3 FROM ff.exposure_stats});
is(ask(q{SELECT buffered, dropped, last_error FROM ff.exposure_stats}), '3|0|canceling statement due to user request',
	'a worker whose first transaction fails keeps what there is, tries again, and says why');
expose('later', 1);
$blocker->do('ROLLBACK');
ok(comes_true(q{SELECT count(*) = 4 FROM ff.exposures}), '... and writes it down when it can');
is(ask($books), 't', '... with the books right');
ok(comes_true($worker), '... and stays');

# ---------- a full disk ----------
# To a process, a limit for the size of files is a disk with no room for more.
sub limit_worker
{
	my ($limit) = @_;
	my $pid = ask(q{SELECT worker_pid FROM ff.exposure_stats});
	system_or_bail('prlimit', "--pid=$pid", "--fsize=$limit:");
	return $pid;
}

my $errors = ask(q{SELECT errors FROM ff.exposure_stats});
my $limited = limit_worker(1024 * 1024);
expose('long' . 'x' x 400, 4000);
set('ff.exposure_flush_interval = 100ms');
wait_for(qq{SELECT errors >= $errors + 2 FROM ff.exposure_stats});
like(ask(q{SELECT last_error FROM ff.exposure_stats}), qr/could not extend file/, 'a table that has no room: said in ff.exposure_stats');
is(ask(q{SELECT buffered, dropped FROM ff.exposure_stats}), '4000|0', '... everything is kept, and tried again');
is(ask(q{SELECT count(*) FROM ff.exposures}), '4', '... nothing is written by halves');
is(ask($books), 't', '... and the books are right');
is(expose('meanwhile', 5), '5', '... evaluation goes on');
limit_worker('unlimited');
ok(comes_true(q{SELECT buffered = 0 FROM ff.exposure_stats}), 'with room again, the worker writes it down');
is(ask(q{SELECT count(*), count(DISTINCT user_id), sum(evaluations), (SELECT count(*) FROM ff.assignments), (SELECT sum(unique_users) FROM ff.exposure_counts),
	(SELECT sum(evaluations) FROM ff.exposure_counts) FROM ff.exposures}), '4009|4009|4009|4009|4009|4009', '... each once, in all tables');
is(ask(q{SELECT flushed, dropped, buffered FROM ff.exposure_stats}), '4009|0|0', '... and in the books');
is(ask(q{SELECT worker_pid FROM ff.exposure_stats}), $limited, '... the same worker');
is(logged('PANIC|terminated by signal'), 0, '... and the server never stopped');

$node->stop;
done_testing();
