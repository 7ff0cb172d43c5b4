# Flushing where something is in its way: other encodings, places that go, rows that fail, triggers, isolation levels.

use strict;
use warnings;
use Test::More;
use Ff;

my $node = Ff::cluster('flushing', q{shared_preload_libraries = 'ff'}, 'ff.exposure_flush_interval = 1h',
	'ff.exposure_flush_count = 1000000000', 'max_worker_processes = 16', 'ff.max_databases = 2');

sub ask { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }
sub comes_true { my ($sql, $database) = @_; return $node->poll_query_until($database // 'postgres', $sql); }
sub wait_for { my ($sql) = @_; comes_true(@_) or die "never true: $sql"; return; }
sub note_users { my ($users, $database) = @_; return ask("SELECT ff_bool('exp', jsonb_build_object('user_id', u)) FROM unnest(ARRAY[$users]) u", $database); }

my $books = q{SELECT noted = flushed + dropped + buffered AND buffered = (SELECT coalesce(sum(evaluations), 0) FROM ff.exposure_buffer) FROM ff.exposure_stats};
my $flag = q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
	('exp', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}')};
my ($code, $out, $error);
ask($flag);

# ---------- a place that is released ----------
ask("CREATE DATABASE $_") for qw(first second);

# by a worker that doesn't see the extension yet
my $session = Ff::session($node, 'first');
$session->do("BEGIN; CREATE EXTENSION ff; $flag");
$session->do(q{SELECT ff_bool('exp', jsonb_build_object('user_id', 'u' || g)) FROM generate_series(1, 50) g});
is(Ff::value($session, 'SELECT ff_flush_exposures()'), 50, 'a flush that is not committed yet');

# the launcher looks now: something changed for another database
ask("CREATE EXTENSION ff; $flag", 'second');
ok(comes_true(q{SELECT ff_bool('exp', '{"user_id": "other"}') IS NOT NULL AND (SELECT buffered > 0 FROM ff.exposure_stats)}, 'second'), 'its place is released, and another\'s');
my $buffered = q{SELECT buffered FROM ff.exposure_stats};
my $was = ask($buffered, 'second');
is(Ff::value($session, q{SELECT ff_bool('exp', '{"user_id": "late"}') IS NOT NULL}), 1, 'what has no place is evaluated');
is(Ff::value($session, 'SELECT ff_flush_exposures()'), 0, '... and there is nothing to flush');
ok($session->do('COMMIT'), 'it is committed');
is(Ff::value($session, q{SELECT count(*) FROM ff.exposures}), 50, '... and written');
is(ask($buffered, 'second'), $was, '... and takes nothing of the other database with it');
is(ask($books, 'second'), 't', '... whose books are right');
is(ask('SELECT ff_flush_exposures()', 'second'), '1', '... and which writes them');
$session->disconnect;
ask('DROP DATABASE first');

# ---------- a trigger that flushes ----------
ask(q{CREATE FUNCTION flush() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.ff_flush_exposures(); RETURN NULL; END $$;
	CREATE TRIGGER flush AFTER INSERT ON ff.exposures FOR EACH ROW EXECUTE FUNCTION flush()});
note_users(q{'u1', 'u2'});
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_flush_exposures()});
like($error, qr/ERROR:  exposures are being written down\n.*HINT:  A trigger of a table/s, 'a flush within a flush is refused');
ask('DROP TRIGGER flush ON ff.exposures; CREATE TRIGGER flush AFTER INSERT ON ff.exposure_rollups FOR EACH ROW EXECUTE FUNCTION flush()');
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_flush_exposures()});
like($error, qr/ERROR:  exposures are being written down/, '... from whichever table');
is(ask(q{DO $$ BEGIN PERFORM ff_flush_exposures(); EXCEPTION WHEN object_in_use THEN END $$; DROP TRIGGER flush ON ff.exposure_rollups; SELECT ff_flush_exposures()}), '2',
	'... and the next flush of the session writes them');
is(ask(q{SELECT count(*), count(DISTINCT user_id) FROM ff.exposures}), '2|2', '... once');

# ---------- encodings ----------
is(ask(q{SET client_encoding = LATIN1; SELECT ff_bool('exp', jsonb_build_object('user_id', 'j' || chr(252) || 'rgen' || chr(8364))) IS NOT NULL; SELECT ff_flush_exposures()}), "t\n1",
	'a client with another encoding flushes');
is(ask(q{SELECT string_agg(user_id, ' ') FROM ff.exposures WHERE user_id = 'j' || chr(252) || 'rgen' || chr(8364)}) ne '', 1, '... and writes what the id is');
is(ask(q{SET client_encoding = LATIN1; SELECT recorded FROM ff_record_exposures('b', jsonb_build_array(jsonb_build_object('flag_key', 'exp', 'variant_key', 'on',
	'user_id', 'r' || chr(252), 'reason', 'ROLLOUT')))}), '1', 'a client with another encoding reports');
is(ask(q{SELECT count(*) FROM ff.assignments WHERE user_id IN ('j' || chr(252) || 'rgen' || chr(8364), 'r' || chr(252))}), '2', '... and users are assigned as who they are');
ask('ALTER DATABASE postgres SET client_encoding = LATIN1');
my $old = ask('SELECT worker_pid FROM ff.exposure_stats');
ask(qq{SELECT pg_terminate_backend($old)});
wait_for(qq{SELECT worker_pid <> $old FROM ff.exposure_stats});
ask(q{SELECT ff_bool('exp', jsonb_build_object('user_id', 'w' || chr(252))); SELECT pg_terminate_backend(worker_pid) FROM ff.exposure_stats});
wait_for(q{SELECT buffered = 0 FROM ff.exposure_stats});
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id = 'w' || chr(252)}), '1', 'so does a worker whose database is set to another encoding');
ask('ALTER DATABASE postgres RESET client_encoding');

# ---------- rows that fail ----------
ask(q{SET ff.allow_experiment_change = on; INSERT INTO ff.flags (key, type, default_value, rollout, experiment) SELECT k, 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}'
	FROM unnest(ARRAY['bad', 'worse']) k; ALTER TABLE ff.exposures ADD CONSTRAINT good CHECK (flag_key NOT IN ('bad', 'worse'))});
ask(q{SELECT count(ff_bool(k, jsonb_build_object('user_id', 'u' || g))) FROM generate_series(1, 3000) g, unnest(ARRAY['bad', 'worse']) k;
	SELECT ff_bool('exp', jsonb_build_object('user_id', 'good' || g)) FROM generate_series(1, 20) g});
is(ask('SELECT ff_flush_exposures()'), '20', 'thousands of rows that fail don\'t keep another flag\'s from being written');
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id LIKE 'good%'}), '20', '... which are');
is(ask(q{SELECT count(*) FROM ff.exposure_buffer WHERE flag_key IN ('bad', 'worse')}), '6000', '... and those stay');
is(ask($books), 't', '... and the books are right');
ask('ALTER TABLE ff.exposures DROP CONSTRAINT good');
is(ask('SELECT ff_flush_exposures()'), '6000', '... and are written when they can be');
ask(q{CREATE FUNCTION bad_last() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.user_id ~ '^bad' THEN RAISE 'bad' USING ERRCODE = 'UE001'; END IF; RETURN NEW; END $$;
	CREATE TRIGGER bad_last BEFORE INSERT ON ff.exposures FOR EACH ROW EXECUTE FUNCTION bad_last();
	SELECT count(ff_bool('exp', jsonb_build_object('user_id', k || g))) FROM generate_series(1, 120) g, unnest(ARRAY['bad', 'fine']) k});
is(ask('SELECT ff_flush_exposures()'), '120', 'many of one flag that fail, for a reason of the user\'s own, don\'t keep the others');
is(ask(q{SELECT count(*) FROM ff.exposures WHERE user_id LIKE 'fine%'}), '120', '... which are written');
for my $attempt (1 .. 10) { ask(qq{SELECT ff_bool('exp', '{"user_id": "beside$attempt"}') IS NOT NULL; SELECT ff_flush_exposures()}); }
is(ask(q{SELECT count(*) FROM ff.exposure_buffer}), '0', '... and they are given up');
note_users(q{'bad'});
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_flush_exposures()});
like($error, qr/ERROR:  bad/, 'where nothing can be written it is an error');
($code, $out, $error) = $node->psql('postgres', q{SELECT ff_flush_exposures()});
is($code, 0, '... but not again for what is known to fail');
like($error, qr/WARNING:  1 exposure could not be written: bad/, '... of which one is told');
for my $attempt (1 .. 12) { $node->psql('postgres', q{SELECT ff_flush_exposures()}); }
is(ask(q{SELECT user_id FROM ff.exposure_buffer}), 'bad', '... and which is kept as long as nothing else is written');

# the worker is not put off by it
$node->append_conf('postgresql.conf', 'ff.exposure_flush_interval = 200ms');
$node->reload;
sleep 3;
my $errors = ask('SELECT errors FROM ff.exposure_stats');
ok(comes_true(qq{SELECT errors > $errors + 20 FROM ff.exposure_stats}), 'the worker tries such a row as often as it flushes');
for my $more (1 .. 8) { note_users("'bad$more'"); wait_for(qq{SELECT errors > 0 AND last_error_at > clock_timestamp() - interval '0.1 s' FROM ff.exposure_stats}); }
note_users(q{'punctual'});
wait_for(q{SELECT count(*) = 1 FROM ff.exposures WHERE user_id = 'punctual'});
is(ask(q{SELECT clock_timestamp() - exposed_at < interval '60 s' FROM ff.exposures WHERE user_id = 'punctual'}), 't', '... and writes others when it is time');
$node->append_conf('postgresql.conf', 'ff.exposure_flush_interval = 1h');
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_flush_interval') = '1h'});
ask('DROP TRIGGER bad_last ON ff.exposures; SELECT ff_flush_exposures()');

# constraints that are deferred
ask(q{CREATE TABLE people (id text COLLATE "C" PRIMARY KEY); INSERT INTO people SELECT DISTINCT user_id FROM ff.assignments; INSERT INTO people VALUES ('known');
	ALTER TABLE ff.assignments ADD CONSTRAINT known FOREIGN KEY (user_id) REFERENCES people DEFERRABLE INITIALLY DEFERRED});
note_users(q{'known', 'unknown'});
is(ask('SELECT ff_flush_exposures()'), '1', 'a deferred constraint fails with the row that breaks it');
is(ask(q{SELECT user_id FROM ff.exposure_buffer}), 'unknown', '... which stays');
is(ask(q{SELECT count(*) FROM ff.assignments WHERE user_id = 'known'}), '1', '... and the other is written');
ask(q{CREATE TABLE mine (id text REFERENCES people DEFERRABLE INITIALLY DEFERRED)});
is(ask(q{BEGIN; INSERT INTO mine VALUES ('later'); SELECT ff_bool('exp', '{"user_id": "known"}') IS NOT NULL; SELECT ff_flush_exposures(); INSERT INTO people VALUES ('later'); COMMIT}), "t\n1",
	'... and those of other tables are checked when they were to be');
ask('ALTER TABLE ff.assignments DROP CONSTRAINT known; SELECT ff_flush_exposures()');

# a worker that has nothing left of the failures above to try again
$node->restart;
wait_for(q{SELECT worker_pid IS NOT NULL FROM ff.exposure_stats});

# ---------- what is none of the experiment's ----------
ask(q{SET ff.allow_experiment_change = on; INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
	('part', 'boolean', 'false', '[{"variant": "on", "weight": 100}]', '{"active": true, "traffic": 40}')});
my $part = q{SELECT count(ff_bool('part', jsonb_build_object('user_id', 'u' || g))) FROM generate_series(1, 100) g};
my $users = ask("$part; SELECT count(*) FROM ff.exposure_buffer") =~ s/^.*\n//r;
ok($users > 10 && $users < 90, 'some users take part');
ask("SET ff.exposure_mode = 'all'; $part");
is(ask(q{SELECT count(*), count(*) FILTER (WHERE evaluations = 2) FROM ff.exposure_buffer}), "100|$users", 'ff.exposure_mode = all notes the others, too');
ask(q{UPDATE ff.flags SET enabled = false WHERE key = 'part'});
ask("SET ff.exposure_mode = 'all'; $part");
ask(q{UPDATE ff.flags SET enabled = true WHERE key = 'part'});
is(ask(q{SELECT sum(evaluations), count(*) FROM ff.exposure_buffer}), 200 + $users . '|' . (100 + $users), '... and apart from those who do');
$node->append_conf('postgresql.conf', q{ff.exposure_sink = 'memory'});
$node->restart;
$node->append_conf('postgresql.conf', q{ff.exposure_sink = 'table'});
$node->reload;
wait_for(q{SELECT current_setting('ff.exposure_sink') = 'table'});
ask('SELECT ff_flush_exposures()');
is(ask(q{SELECT count(*), count(DISTINCT variant_key) FROM ff.assignments WHERE flag_key = 'part'}), "$users|1", '... over a restart: only who takes part is assigned');
is(ask(q{SELECT count(*) FROM ff.crossovers WHERE flag_key = 'part'}), '0', '... and nobody crosses over');
is(ask(q{SELECT sum(evaluations), sum(unique_users) FROM ff.exposure_counts WHERE flag_key = 'part'}), 200 + $users . "|$users", '... while evaluations count');
is(ask(q{SELECT sum(evaluations) FROM ff.exposures WHERE flag_key = 'part'}), 200 + $users, '... and are written');
is(ask(q{SELECT recorded FROM ff_record_exposures('off', '[{"flag_key": "part", "variant_key": "off", "user_id": "reported", "reason": "KILL_SWITCH"}]');
	SELECT count(*) FROM ff.assignments WHERE user_id = 'reported'}), "1\n0", 'who is reported as off by the kill switch is not assigned either');

# ---------- a run that begins within a window ----------
sub run_again
{
	my ($name, $change) = @_;
	ask(qq{SET ff.allow_experiment_change = on; INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES
		('$name', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}')});
	my $show = qq{SELECT count(ff_bool('$name', jsonb_build_object('user_id', 'u' || g))) FROM generate_series(1, 50) g};
	ask($show);
	ask(qq{SET ff.allow_experiment_change = on; SELECT ff_update_flag('$name', jsonb_build_object('experiment', jsonb_build_object('active', true, 'started_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) || '$change')});
	ask($show);
	is(ask(qq{SELECT count(*), sum(evaluations) FROM ff.exposure_buffer WHERE flag_key = '$name'}), '100|100', "$name: exposures of two runs are two");
	ask('SELECT ff_flush_exposures()');
	is(ask(qq{SELECT sum(users) FROM ff.sample_ratio WHERE flag_key = '$name'}), '50', '... and all users are of the new run');
	is(ask(qq{SELECT count(*) FROM ff.crossovers WHERE flag_key = '$name'}), '0', '... in which nobody has crossed over');
	is(ask(qq{SELECT count(*), count(DISTINCT user_id) FROM ff.assignments WHERE flag_key = '$name'}), '50|50', '... each assigned once');
	is(ask(qq{SELECT sum(evaluations), sum(unique_users) FROM ff.exposure_counts WHERE flag_key = '$name'}), '100|50', '... and counted once');
	return;
}
run_again('run', '{}');
run_again('salted', '{"bucketing": {"salt": "another"}}');
is(ask(q{SELECT recorded FROM ff_record_exposures('before', (SELECT jsonb_agg(jsonb_build_object('flag_key', 'salted', 'variant_key', v, 'user_id', 'u1', 'reason', 'ROLLOUT',
	'exposed_at', '2020-01-01T00:00:00Z')) FROM unnest(ARRAY['on', 'off']) v)); SELECT count(*) FROM ff.crossovers WHERE flag_key = 'salted'}), "2\n0",
	'what is reported of the time before the run is no crossover');

# ---------- isolation levels ----------
note_users(q{'isolated'});
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	($code, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN ISOLATION LEVEL $level; SELECT ff_flush_exposures()");
	like($error, qr/ERROR:  25001: ff_flush_exposures\(\) needs a transaction that is READ COMMITTED\n.*HINT:  Begin it with/s, "no flush at $level");
	($code, $out, $error) = $node->psql('postgres', qq{\\set VERBOSITY verbose\nBEGIN ISOLATION LEVEL $level; SELECT ff_record_exposures('i', '[]')});
	like($error, qr/ERROR:  25001: ff_record_exposures\(\) needs a transaction that is READ COMMITTED/, '... and no report');
}
ask(q{ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'; ALTER DATABASE postgres SET default_transaction_read_only = on});
$old = ask('SELECT worker_pid FROM ff.exposure_stats');
ask(qq{SELECT pg_terminate_backend($old)});
wait_for(qq{SELECT worker_pid <> $old FROM ff.exposure_stats});
ask(q{SELECT ff_bool('exp', '{"user_id": "serial"}'); SELECT pg_terminate_backend(worker_pid) FROM ff.exposure_stats});
ok(comes_true(q{SELECT count(*) = 1 FROM ff.exposures WHERE user_id = 'serial'}), 'whatever the database is set to, its worker writes');
ask(q{SET default_transaction_read_only = off; ALTER DATABASE postgres RESET default_transaction_isolation; ALTER DATABASE postgres RESET default_transaction_read_only});

# ---------- statements in a transaction that stays open ----------
$session = Ff::session($node);
my $seen = q{SELECT buffered FROM ff.exposure_stats};
sub shown { my ($sql) = @_; ask('SELECT ff_flush_exposures()'); $session->do($_) for @$sql; return ask($seen); }
is(shown([ 'BEGIN', q{DECLARE c CURSOR FOR SELECT ff_bool('exp', jsonb_build_object('user_id', 'c' || g)) FROM generate_series(1, 1000) g}, 'MOVE 500 IN c' ]), 500,
	'what an open cursor has fetched is in the books');
is(shown([ 'FETCH 20 FROM c' ]), 20, '... each time');
is(shown([ q{DO $$ DECLARE v boolean; BEGIN FOR i IN 1 .. 40 LOOP v := ff_bool('exp', jsonb_build_object('user_id', 'd' || i)); END LOOP; END $$} ]), 40,
	'what a DO block has shown is, too');
$session->do('ROLLBACK');
ask(q{CREATE PROCEDURE show() LANGUAGE plpgsql AS $$ DECLARE v boolean; BEGIN FOR i IN 1 .. 30 LOOP v := ff_bool('exp', jsonb_build_object('user_id', 'p' || i)); END LOOP; END $$});
is(shown([ 'BEGIN', 'CALL show()' ]), 30, '... and a procedure');
$session->do('ROLLBACK');
$session->disconnect;

# ---------- times ----------
ask(q{DO $$ DECLARE v boolean; BEGIN FOR i IN 1 .. 3 LOOP v := ff_bool('exp', jsonb_build_object('user_id', 'timed' || i)); PERFORM pg_sleep(0.1); COMMIT; END LOOP; END $$});
is(ask(q{SELECT ff_flush_exposures(); SELECT count(*) FROM (SELECT exposed_at - lag(exposed_at) OVER (ORDER BY user_id) AS step FROM ff.exposures WHERE user_id LIKE 'timed%') t
	WHERE step >= interval '100 ms'}) =~ /\n2$/, 1, 'a block that commits shows at the time of its transactions');

$node->stop;
done_testing();
