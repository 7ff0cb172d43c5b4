# One session's cache through what can happen to a session, and to the server under it.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('sessions', 'restart_after_crash = on', 'min_parallel_table_scan_size = 0', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0');
my $one = Ff::session($node);
my $two = Ff::session($node);
my $ask = q{SELECT ff_number('f')};

sub set { my ($session, $value) = @_; $session->do("UPDATE ff.flags SET default_value = '$value' WHERE key = 'f'"); return; }

$one->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '1')});
is(Ff::value($two, $ask), 1, 'a flag made by another session');

# ---------- parallel workers ----------
$one->do(q{CREATE TABLE users AS SELECT g AS id, jsonb_build_object('user_id', 'u' || g) AS ctx FROM generate_series(1, 20000) g});
$one->do('ANALYZE users');
$one->do(q{INSERT INTO ff.flags (key, type, default_value, rollout) VALUES ('half', 'boolean', 'false', '[{"variant": "on", "weight": 50}]')});
my $count = q{SELECT count(*) FROM users WHERE ff_bool('half', ctx)};
$one->do('SET max_parallel_workers_per_gather = 0');
my $alone = Ff::value($one, $count);
$one->do('SET max_parallel_workers_per_gather = 4');
like(join("\n", map { $_->[0] } @{ $one->selectall_arrayref("EXPLAIN (ANALYZE, COSTS OFF) $count") }), qr/Workers Launched: [1-4]/, 'a plan with workers');
is(Ff::value($one, $count), $alone, 'workers answer as one process does');
$one->do('BEGIN');
$one->do(q{UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": 100}]' WHERE key = 'half'});
is(Ff::value($one, $count), 20000, 'workers see the leader\'s uncommitted change');
$one->do('ROLLBACK');
is(Ff::value($one, $count), $alone, 'and not after it is rolled back');

# ---------- many flags, many messages ----------
$one->do(q{INSERT INTO ff.flags (key, type, default_value) SELECT 'n-' || g, 'number', to_jsonb(g) FROM generate_series(1, 10000) g});
is(Ff::value($two, q{SELECT count(*) FROM generate_series(1, 10000) g WHERE ff_number('n-' || g) = g}), 10000, 'ten thousand flags');
$one->do(q{UPDATE ff.flags SET default_value = '-1' WHERE key = 'n-5000'});
is(Ff::value($two, q{SELECT count(*) FROM generate_series(1, 10000) g WHERE ff_number('n-' || g) = g}), 9999, 'after one of them changed');
is(Ff::value($two, q{SELECT count(*) FROM ff_evaluate_all('{}')}), 10002, 'all at once');
$one->do(q{UPDATE ff.flags SET default_value = '-2' WHERE key = 'n-10000'});
is(Ff::value($two, q{SELECT count(*) || ' ' || sum(value::int) FILTER (WHERE flag_key IN ('n-5000', 'n-10000')) FROM ff_evaluate_all('{}')}),
	'10002 -3', 'all at once, after another changed');
is(Ff::value($two, q{SELECT flags FROM ff_cache_info()}), 10002, 'which the cache has');

# documents go when the next evaluation begins; what was evaluated last stays
$two->do(q{SET ff.cache_size = '2MB'});
is(Ff::value($two, q{SELECT ff_number('n-1')}), 1, 'with less room');
cmp_ok(Ff::value($two, q{SELECT bytes FROM ff_cache_info()}), '<', 2.2 * 1024 * 1024, 'the cache is no larger');
is(Ff::value($two, q{SELECT count(*) FROM generate_series(1, 10000) g WHERE ff_number('n-' || g) = g}), 9998, 'and all flags are answered');
$two->do('RESET ff.cache_size');

# more messages than the queue holds make a session forget everything
$two->do('BEGIN');
is(Ff::value($two, $ask), 1, 'a transaction that idles');
$one->do(q{DO $$ BEGIN FOR i IN 1 .. 3000 LOOP
	EXECUTE 'CREATE TEMP TABLE t' || i || ' (x int)'; EXECUTE 'DROP TABLE t' || i; COMMIT; END LOOP; END $$});
set($one, 2);
is(Ff::value($two, $ask), 2, 'the queue of messages ran over meanwhile');
$two->do('COMMIT');

# ---------- what sessions do ----------
$two->do('DISCARD ALL');
is(Ff::value($two, $ask), 2, 'DISCARD ALL');
$two->do(q{PREPARE asked AS SELECT ff_number('f')});
is(Ff::value($two, 'EXECUTE asked'), 2, 'a prepared statement');
set($one, 3);
is(Ff::value($two, 'EXECUTE asked'), 3, 'after a change');
$one->do('ANALYZE ff.flags');
$one->do('VACUUM FULL ff.flags');
is(Ff::value($two, 'EXECUTE asked'), 3, 'after VACUUM FULL');
set($one, 4);
is(Ff::value($two, 'EXECUTE asked'), 4, 'and a change after that');

$one->do('SET ff.notify = off');
$one->do('BEGIN');
set($one, 5);
$one->do(q{PREPARE TRANSACTION 'two-phase'});
is(Ff::value($one, $ask) . Ff::value($two, $ask), '44', 'a prepared transaction is not seen');
$one->do(q{COMMIT PREPARED 'two-phase'});
is(Ff::value($one, $ask) . Ff::value($two, $ask), '55', 'until it is committed');
$one->do('BEGIN');
set($one, 6);
is(Ff::value($one, $ask), 6, 'another transaction');
$one->do(q{PREPARE TRANSACTION 'two-phase'});
$one->do(q{ROLLBACK PREPARED 'two-phase'});
is(Ff::value($one, $ask) . Ff::value($two, $ask), '55', 'is prepared and rolled back');

# triggers, plpgsql and savepoints
$one->do('BEGIN');
$one->do('SAVEPOINT s');
set($one, 6);
is(Ff::value($one, $ask), 6, 'a change after a savepoint');
$one->do('ROLLBACK TO s');
is(Ff::value($one, $ask), 5, 'which is rolled back to');
$one->do('ROLLBACK');
$one->do(q{CREATE TABLE seen (value float8)});
$one->do(q{CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen VALUES (ff_number(NEW.key)); RETURN NULL; END'});
$one->do(q{CREATE TRIGGER see AFTER UPDATE ON ff.flags FOR EACH ROW WHEN (NEW.key = 'f') EXECUTE FUNCTION see()});
set($one, 5.5);
is(Ff::value($one, 'SELECT value FROM seen'), 5.5, 'a trigger after the change sees it');
$one->do('DROP FUNCTION see CASCADE');

# behind the triggers' back: the statement that enables them again tells everybody
$one->do('ALTER TABLE ff.flags DISABLE TRIGGER USER');
$one->do(q{DELETE FROM ff.flags WHERE key = 'f'});
$one->do('ALTER TABLE ff.flags ENABLE TRIGGER USER');
is(Ff::value($two, q{SELECT (ff_evaluate('f')).error_code}), 'FLAG_NOT_FOUND', 'a row deleted with triggers disabled');

# ---------- permissions ----------
$one->do('CREATE ROLE asker');
$one->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '1')});
$two->do('SET ROLE asker');
is(Ff::value($two, $ask), 1, 'a role evaluates');
$one->do('REVOKE SELECT (key) ON ff.flags FROM PUBLIC');
is(Ff::value($two, q{SELECT (ff_evaluate('f')).error_code}), 'PERMISSION_DENIED', 'the next statement after a REVOKE does not');
$one->do('CREATE ROLE askers');
$one->do('GRANT SELECT (key) ON ff.flags TO askers');
is(Ff::value($two, q{SELECT (ff_evaluate('f')).error_code}), 'PERMISSION_DENIED', 'a grant to others');
$one->do('GRANT askers TO asker');
is(Ff::value($two, $ask), 1, 'membership in them');
$two->do('RESET ROLE');

# ---------- DROP and CREATE EXTENSION ----------
$two->do('DROP EXTENSION ff');
$two->do('CREATE EXTENSION ff');
is(Ff::value($two, q{SELECT (ff_evaluate('f')).error_code}), 'FLAG_NOT_FOUND', 'a new extension has no flags');
$two->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '7')});
is(Ff::value($two, $ask), 7, 'in the session that made it');
is(Ff::value($one, $ask), 7, 'and in another that knew the old one');

# ---------- cancel, crash, restart ----------
$one->do(q{SET statement_timeout = '200ms'});
eval { $one->do(q{SELECT count(*) FROM generate_series(1, 1000000000) g WHERE ff_bool('half', jsonb_build_object('user_id', g))}) };
like($@, qr/statement timeout/, 'a query is cancelled, not answered with fallbacks');
$one->do('RESET statement_timeout');

my $victim = Ff::session($node);
my $pid = Ff::value($victim, 'SELECT pg_backend_pid()');
kill 'KILL', $pid;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'the server did not come back';
my $three = Ff::session($node);
is(Ff::value($three, $ask), 7, 'after a crash');
$three->disconnect;
$node->restart;
$three = Ff::session($node);
is(Ff::value($three, $ask), 7, 'after a restart');
$three->disconnect;

$node->stop;
done_testing();
