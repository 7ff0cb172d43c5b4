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
ask("CREATE EXTENSION ff; $flag", 'first');
my $session = Ff::session($node, 'first');
$session->do(q{SELECT ff_bool('exp', jsonb_build_object('user_id', 'u' || g)) FROM generate_series(1, 50) g});
$session->do('BEGIN');
is(Ff::value($session, 'SELECT ff_flush_exposures()'), 50, 'a flush that is not committed yet');
ask('ALTER DATABASE first ALLOW_CONNECTIONS false');

# the launcher looks now: something changed for another database
ask("CREATE EXTENSION ff; $flag", 'second');
ok(comes_true(q{SELECT ff_bool('exp', '{"user_id": "other"}') IS NOT NULL AND (SELECT buffered > 0 FROM ff.exposure_stats)}, 'second'), 'its place is another database\'s');
my $buffered = q{SELECT buffered FROM ff.exposure_stats};
my $was = ask($buffered, 'second');
is(Ff::value($session, q{SELECT ff_bool('exp', '{"user_id": "late"}') IS NOT NULL}), 1, 'what has no place is evaluated');
is(Ff::value($session, 'SELECT ff_flush_exposures()'), 0, '... and there is nothing to flush');
ok($session->do('COMMIT'), 'it is committed');
is(Ff::value($session, q{SELECT count(*) FROM ff.exposures}), 50, '... and written');
is(ask($buffered, 'second'), $was, '... and takes nothing of the other database with it');
is(ask($books, 'second'), 't', '... whose books are right');
is(ask('SELECT ff_flush_exposures()', 'second'), '1', '... and who writes his');
$session->disconnect;

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

$node->stop;
done_testing();
