# When a worker can't do what it should: nothing is lost or written twice, the books are right, it is
# said, and it goes on when it can. And what it says of experiments that go wrong.

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
	'ff.exposure_flush_interval = 1h', 'ff.exposure_flush_count = 1000000000'));
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

# ---------- experiments that go wrong ----------
# Upkeep is done when a worker starts. One that is idle after the last step of it has done it.
sub have_upkeep_done
{
	my $pid = ask(q{SELECT worker_pid FROM ff.exposure_stats});
	# a change of any extension has the launcher not wait before it starts another one
	ask(qq{SELECT pg_terminate_backend($pid); DROP EXTENSION plpgsql; CREATE EXTENSION plpgsql});
	wait_for(qq{SELECT count(*) = 1 FROM pg_stat_activity a, ff.exposure_stats s WHERE a.pid = s.worker_pid AND a.pid <> $pid AND a.state = 'idle'
		AND a.query = 'check sample ratios of experiments'});
	return;
}

my $warned = q{SELECT count(*) FROM ff.sample_ratio_warnings WHERE flag_key = };
set('ff.exposure_flush_interval = 1h');
have_upkeep_done();
is(logged('sample ratio mismatch'), 0, 'users who are spread as configured: no warning');
ask(q{SET ff.exposure_mode = off; CREATE TABLE lucky AS SELECT 'lucky' || g AS id FROM generate_series(1, 3000) g WHERE ff_bool('exp', jsonb_build_object('user_id', 'lucky' || g));
	SET ff.exposure_mode = experiments; SELECT count(ff_bool('exp', jsonb_build_object('user_id', id))) FROM lucky; SELECT ff_flush_exposures()});
have_upkeep_done();
is(logged('WARNING:  sample ratio mismatch in the experiment of flag "exp", namespace "default"'), 1, 'users who are not: the worker warns');
is(logged('HINT:  SELECT \* FROM ff.sample_ratio'), 1, '... and says where to look');
have_upkeep_done();
ask('SELECT * FROM ff_maintain()');
cmp_ok(ask($warned . q{'exp'}), '<=', 2, '... once a day, or two if one begins meanwhile');
is(logged('LOG:.*sample ratio|WARNING:  sample ratio'), ask($warned . q{'exp'}), '... however often it looks');
my $before = logged('sample ratio mismatch');
ask(q{UPDATE ff.sample_ratio_warnings SET day = day - 7});
have_upkeep_done();
is(logged('sample ratio mismatch'), $before + 1, '... and again on another day');
ask(q{SELECT ff_update_flag('exp', '{"experiment": {"active": false}}'); UPDATE ff.sample_ratio_warnings SET day = day - 7});
have_upkeep_done();
is(logged('sample ratio mismatch'), $before + 1, '... until the experiment ends');
ask(q{SELECT ff_update_flag('exp', '{"experiment": {"active": true}}')});

# ---------- a database whose settings are in the way ----------
ask(join ';', 'CREATE ROLE nobody', map { "ALTER DATABASE postgres SET $_" } 'role = nobody', 'default_transaction_read_only = on', q{statement_timeout = '1ms'}, q{lock_timeout = '1ms'},
	'default_transaction_isolation = serializable', 'default_transaction_deferrable = on', 'session_replication_role = replica', 'idle_in_transaction_session_timeout = 1',
	q{search_path = 'elsewhere'}, q{"DateStyle" = 'SQL, DMY'}, q{"IntervalStyle" = 'sql_standard'}, q{"TimeZone" = 'Asia/Kathmandu'}, 'standard_conforming_strings = off',
	'quote_all_identifiers = on', 'row_security = off', 'array_nulls = off', 'transform_null_equals = on', 'ff.exposure_mode = off', 'enable_indexscan = off',
	($node->pg_version >= 17 ? 'transaction_timeout = 1' : ()));

# Sessions of ours go without.
$ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c session_replication_role=origin -c search_path=public'
	. ' -c standard_conforming_strings=on -c ff.exposure_mode=experiments -c role=none' . ($node->pg_version >= 17 ? ' -c transaction_timeout=0' : '');
my $last = ask(q{SELECT to_char(now() AT TIME ZONE 'UTC' + interval '7 days', 'YYYYMMDD')});
ask(qq{CREATE TABLE ff.exposures_old PARTITION OF ff.exposures FOR VALUES FROM ('2020-02-01 00:00+00') TO ('2020-02-13 00:00+00'); DROP TABLE ff.exposures_$last});
my $seen = ask('SELECT errors FROM ff.exposure_stats');
have_upkeep_done();
is(ask('SELECT errors FROM ff.exposure_stats'), $seen, 'a worker does its work whatever its database is set to') or diag(ask('SELECT last_error FROM ff.exposure_stats'));
is(ask(qq{SELECT to_regclass('ff.exposures_old') IS NULL, to_regclass('ff.exposures_$last') IS NOT NULL}), 't|t', '... partitions go and come');
expose('set', 5);
set('ff.exposure_flush_interval = 100ms');
ok(comes_true(q{SELECT count(*) = 5 FROM ff.exposures WHERE user_id LIKE 'set%'}), '... and exposures are written down');

$node->stop;
done_testing();
