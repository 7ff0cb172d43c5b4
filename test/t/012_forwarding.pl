# Exposures that are reported and forwarded, while others flush: who reads on by number gets each row once, whatever happens meanwhile.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('forwarding', q{shared_preload_libraries = 'ff'}, 'ff.exposure_flush_interval = 100ms', 'ff.exposure_flush_count = 20',
	'restart_after_crash = on', 'max_worker_processes = 16');

sub ask { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }
sub wait_for { my ($sql) = @_; $node->poll_query_until('postgres', $sql) or die "never true: $sql"; return; }

my $report = q{CREATE FUNCTION report(batch text, users text[], late interval DEFAULT '0') RETURNS bigint LANGUAGE sql AS $$
	SELECT recorded FROM ff_record_exposures(batch, (SELECT jsonb_agg(jsonb_build_object('flag_key', 'exp', 'variant_key', 'on', 'user_id', u, 'reason', 'ROLLOUT',
		'exposed_at', to_char((now() - late) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) FROM unnest(users) u)) $$};
ask(q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES ('exp', 'boolean', 'false', '[{"variant": "on", "weight": 100}]', '{"active": true}')});
ask($report);
wait_for(q{SELECT count(*) >= 8 FROM pg_inherits WHERE inhparent = 'ff.exposures'::regclass});

# ---------- everybody at once ----------
my @sessions = map { Ff::session($node) } 1 .. 6;
my $async = { pg_async => 1 };
for my $i (0, 1)
{
	# every third is rolled back, and sent anew, and once more; some are of days without a partition
	$sessions[$i]->do(qq{DO \$\$ BEGIN FOR i IN 1 .. 150 LOOP
		PERFORM report('s$i-' || i, ARRAY['r$i-' || i, 'q$i-' || i], make_interval(days => i % 4));
		IF i % 3 = 0 THEN ROLLBACK; PERFORM report('s$i-' || i, ARRAY['r$i-' || i, 'q$i-' || i]); END IF;
		COMMIT; PERFORM report('s$i-' || i, ARRAY['never']); COMMIT; END LOOP; END \$\$}, $async);
}
for my $i (2, 3)
{
	$sessions[$i]->do(qq{DO \$\$ BEGIN FOR i IN 1 .. 150 LOOP PERFORM ff_bool('exp', jsonb_build_object('user_id', 'e$i-' || i || '-' || g)) FROM generate_series(1, 10) g;
		COMMIT; PERFORM ff_flush_exposures(); IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END \$\$}, $async);
}
$sessions[4]->do(q{DO $$ BEGIN FOR i IN 1 .. 20 LOOP EXECUTE (SELECT format('DROP TABLE IF EXISTS ff.exposures_%s', to_char(now() AT TIME ZONE 'UTC' + interval '7 days', 'YYYYMMDD'))); COMMIT;
	PERFORM ff_maintain(); COMMIT; PERFORM pg_sleep(0.05); END LOOP; END $$}, $async);

# who forwards reads in pages, and moves his cursor
my (%seen, $problems);
my $last = 0;
sub forward
{
	my $rows = $sessions[5]->selectall_arrayref("SELECT id, user_id FROM ff_exposures_after($last, 37)");
	for my $row (@$rows)
	{
		$problems .= "$row->[0] after $last " if $row->[0] <= $last;
		$problems .= "$row->[1] again " if $seen{ $row->[0] }++;
		$last = $row->[0];
	}
	return scalar @$rows;
}
while (grep { !$_->pg_ready } @sessions[ 0 .. 4 ]) { forward() or select(undef, undef, undef, 0.01); }
$_->pg_result for @sessions[ 0 .. 4 ];
ask('SELECT ff_flush_exposures()');
1 while forward();
is($problems, undef, 'numbers only grow, while six sessions and a worker write');
is(scalar keys %seen, ask('SELECT count(*) FROM ff.exposures'), 'every row was forwarded');
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id ~ '^[rq]'}), '600', 'every batch was written once');
is(ask(q{SELECT count(DISTINCT user_id) FROM ff.exposures WHERE user_id ~ '^e'}), '3000', q{... and every exposure of the server's own});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'never'}), '0', '... none twice');
is(ask(q{SELECT string_agg(c.relname, ' ') FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'ff.exposures'::regclass AND NOT EXISTS
	(SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0] WHERE indrelid = c.oid AND attname = 'id')}), '', 'every partition has the index');
$_->disconnect for @sessions;

# ---------- a cursor that lags doesn't scan ----------
ask(q{SELECT report('many' || b, (SELECT array_agg('m' || b || '-' || g) FROM generate_series(1, 5000) g), make_interval(days => b % 2)) FROM generate_series(1, 6) b});
my $scans = q{SELECT pg_stat_force_next_flush(); SELECT sum(seq_scan), sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname LIKE 'exposures\_%'};
my $before = ask($scans);
for my $after (0, 1, 10000, 1000000) { ask("SELECT count(*) FROM ff_exposures_after($after); SELECT * FROM ff_exposure_cursor('c'); SELECT pg_stat_force_next_flush()"); }
is(ask($scans), $before, 'no partition is scanned, wherever the cursor is');
my $read = q{SELECT sum(idx_tup_fetch) FROM pg_stat_user_tables WHERE relname LIKE 'exposures\_%'};
$before = ask("SELECT pg_stat_force_next_flush(); $read");
ask('SELECT count(*) FROM ff_exposures_after(100, 50); SELECT pg_stat_force_next_flush()');
cmp_ok((split /\n/, ask("SELECT pg_stat_force_next_flush(); $read"))[-1] - (split /\n/, $before)[-1], '<', 100, '... and no more rows are read than are wanted, and one of each partition');

# ---------- restarts, and crashes ----------
my $newest = q{SELECT max(id) FROM ff.exposures};
ask(qq{SELECT ff_move_exposure_cursor('c', 0, ($newest))});
$node->restart;
my $old = ask($newest);
ask(q{SELECT report('restarted', ARRAY['restarted'])});
cmp_ok(ask($newest), '>', $old, 'numbers go on after a restart');
$old = ask($newest);
my $victim = Ff::session($node);
kill 'KILL', $victim->{pg_pid};
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
ask(q{SELECT report('crashed', ARRAY['crashed'])});
cmp_ok(ask($newest), '>', $old, '... and after a crash');
is(ask(q{SELECT duplicate FROM ff_record_exposures('restarted', '[]')}), 't', 'batches stay known');
is(ask(q{SELECT count(*) FROM ff_exposures_after((SELECT last_id FROM ff_exposure_cursor('c')))}), '2', 'the cursor is where it was');

# ---------- dump ----------
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', 'postgres' ], 'pg_dump');
ask('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--single-transaction', '-d', 'restored', $node->basedir . '/dump' ], 'pg_restore');
my $state = q{SELECT (SELECT count(*) FROM ff.exposures), (SELECT max(id) FROM ff.exposures), (SELECT count(*) FROM ff.exposure_batches), (SELECT last_id FROM ff_exposure_cursor('c'))};
is(ask($state, 'restored'), ask($state), 'numbers, batches and cursors are dumped and restored');
$old = ask($newest, 'restored');
ask(q{SELECT report('restored', ARRAY['restored'])}, 'restored');
cmp_ok(ask($newest, 'restored'), '>', $old, '... and numbers go on');
is(ask(q{SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0] JOIN pg_inherits ON inhrelid = indrelid
	WHERE inhparent = 'ff.exposures'::regclass AND attname = 'id'}, 'restored'), ask(q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'ff.exposures'::regclass}), 'every partition has one index');

# ---------- who can't ----------
my ($code, $out, $error) = $node->psql('postgres', q{SET default_transaction_read_only = on; SELECT report('read-only', ARRAY['u'])});
like($error, qr/cannot execute ff_record_exposures\(\) in a read-only transaction/, 'where nothing can be written');

# ---------- other sinks ----------
my $directory = $node->basedir . '/lines';
mkdir $directory;
$node->append_conf('postgresql.conf', "ff.exposure_sink = 'file'\nff.exposure_directory = '$directory'");
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'file'});
$old = ask($newest);
is(ask(q{SELECT report('to-file', ARRAY['f1', 'f2'])}), '2', 'with sink file a batch is recorded');
is(ask(q{SELECT report('to-file', ARRAY['f1', 'f2'])}), '0', '... once');
is(ask($newest), $old, '... not in the table');
my @lines = grep { /"f[12]"/ } map { split /\n/, slurp_file($_) } glob "$directory/*.jsonl";
is(scalar @lines, 2, '... but as lines');
like($lines[0], qr/"flag_version": null/, '... a version that was not said is null');
$node->append_conf('postgresql.conf', "ff.exposure_sink = 'memory'");
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'memory'});
($code, $out, $error) = $node->psql('postgres', q{SELECT report('to-memory', ARRAY['u'])});
like($error, qr/exposures are kept in memory here/, 'with sink memory it is refused');
is(ask(q{SELECT count(*) FROM ff.exposure_batches WHERE batch_id = 'to-memory'}), '0', '... and not taken for sent');

# ---------- not preloaded ----------
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nff.exposure_sink = 'table'");
$node->restart;
is(ask(q{SELECT report('unloaded', ARRAY['unloaded'])}), '1', 'without preloading it works the same');
is(ask(q{SELECT user_id FROM ff_exposures_after((SELECT max(id) - 1 FROM ff.exposures))}), 'unloaded', '... as does forwarding');
is(ask(q{SELECT variant_key FROM ff.assignments WHERE user_id = 'unloaded'}), 'on', '... and what is derived');

$node->stop;
done_testing();
