# What happens to the tables under a session's cache: rows changed behind its back, locks, columns
# that are replaced, a namespace that is moved; and snapshots that are older than a change.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DBD::Pg qw(:async);
use Time::HiRes qw(time);
use Ff;

my $node = Ff::cluster('tables');
my $reader = Ff::session($node);
my $writer = Ff::session($node);

# What ff_evaluate and ff_explain say of a flag, in one statement: value and error code of both.
my $ask_both = q{SELECT e.value, e.error_code, x.detail::jsonb -> 'value', x.detail::jsonb ->> 'error_code'
	FROM ff_evaluate(%1$s, '{"user_id": "u"}') e, ff_explain(%1$s, '{"user_id": "u"}') x WHERE x.stage = 'result'};

sub words { return join ' ', map { $_ // '-' } @_; }

sub both { my ($session, $key) = @_; return words($session->selectrow_array(sprintf $ask_both, "'$key'")); }

sub error_code { my ($session, $key) = @_; return Ff::value($session, "SELECT error_code FROM ff_evaluate('$key')"); }

# A transaction with an old snapshot.
sub begin_old
{
	$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$reader->do('SELECT FROM pg_class LIMIT 1');
	return;
}

sub lock_table { $writer->do('BEGIN'); $writer->do('LOCK TABLE ff.flags IN ACCESS EXCLUSIVE MODE'); return; }

$writer->do(q{INSERT INTO ff.flags (key, type, default_value, rollout) VALUES
	('f', 'number', '1', NULL), ('rolled', 'boolean', 'false', '[{"variant": "on", "weight": 100}]')});
is(both($reader, 'f'), '1 - 1 -', 'a flag');

# ---------- rows behind the triggers' back ----------
$writer->do(q{BEGIN; ALTER TABLE ff.flags DISABLE TRIGGER USER; CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE ff.flags;
	TRUNCATE ff.flags; INSERT INTO ff.flags TABLE kept; UPDATE ff.flags SET default_value = '2' WHERE key = 'f';
	ALTER TABLE ff.flags ENABLE TRIGGER USER});
is(both($writer, 'f'), '2 - 2 -', 'a table truncated and filled again');
$writer->do('ROLLBACK');
is(both($writer, 'f'), '1 - 1 -', 'rolled back');

# ---------- locks ----------
$reader->do(q{SET lock_timeout = '100ms'});
$writer->do('BEGIN');
$writer->do('ALTER TABLE ff.flags ADD COLUMN extra text');
my $start = time;
is(error_code($reader, 'f'), undef, 'what is cached is answered under a lock');
is(error_code($reader, 'new'), 'PROVIDER_NOT_READY', 'what is not, is not ready');
cmp_ok(time - $start, '<', 10, 'after a bounded wait');
$writer->do('ROLLBACK');
is(error_code($reader, 'new'), 'FLAG_NOT_FOUND', 'and is, after the lock is gone');

# the flag is loaded, its segment is waited for, and both change before the statement goes on
$writer->do(q{INSERT INTO ff.segments (key, included) VALUES ('s', '["u"]')});
$writer->do(q{INSERT INTO ff.flags (key, type, default_value, rules) VALUES ('member', 'boolean', 'false', '[{"if": {"segment": "s"}, "serve": "on"}]')});
is(both($reader, 'member'), 'true - true -', 'a flag with a segment');
$writer->do(q{UPDATE ff.segments SET description = 'changed'});
$writer->do('BEGIN');
$writer->do('LOCK TABLE ff.segments IN ACCESS EXCLUSIVE MODE');
$writer->do(q{UPDATE ff.segments SET included = '["somebody"]'});
$writer->do(q{UPDATE ff.flags SET rules = NULL, enabled = false WHERE key = 'member'});
$reader->do(q{SET lock_timeout = '60s'});
my $pid = $reader->{pg_pid};
my $waiting = $reader->prepare(sprintf($ask_both, q{'member'}), { pg_async => PG_ASYNC });
$waiting->execute;
$node->poll_query_until('postgres', "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = $pid") or die 'it does not wait';
$writer->do('COMMIT');
$waiting->pg_result;
is(words($waiting->fetchrow_array), 'true - true -', 'the statement goes by its snapshot, flag and segment');
$waiting->finish;
is(both($reader, 'member'), 'false - false -', 'the next one by its own');

$reader->do(q{SET lock_timeout = '50ms'});
begin_old();
$writer->do(q{UPDATE ff.flags SET description = 'changed' WHERE key = 'f'});
lock_table();
is(error_code($reader, 'f'), 'PROVIDER_NOT_READY', 'locked, in REPEATABLE READ');
$writer->do('ROLLBACK');
is(both($reader, 'f'), '1 - 1 -', 'the next statement of that transaction asks anew');
$reader->do('COMMIT');
is(both($reader, 'f'), '1 - 1 -', 'and so does the next transaction');

# two cursors, so that the second has no result at hand
$reader->do('BEGIN');
$reader->do("DECLARE $_ CURSOR FOR SELECT e.error_code FROM generate_series(1, 9) g,"
	  . " ff_evaluate('late', jsonb_build_object('g', g)) e") for qw(one two);
$writer->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('late', 'boolean', 'true')});
$writer->do(q{INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('later', 'boolean', 'true', '[{"flag": "late", "variant": "on"}]')});
is(Ff::value($reader, 'FETCH 1 FROM one'), 'FLAG_NOT_FOUND', 'a flag younger than the cursor');
lock_table();
is(error_code($reader, 'late'), 'PROVIDER_NOT_READY', 'is not ready for another snapshot');
$writer->do('ROLLBACK');
is(both($reader, 'later'), 'true - true -', 'is loaded for another flag');
is(Ff::value($reader, 'FETCH 1 FROM two'), 'FLAG_NOT_FOUND', 'and still younger than the cursor');
$reader->do('COMMIT');

# ---------- what counts as older ----------

# A snapshot lists subtransactions that began after it, too: their number says nothing about age.
# A third transaction ends after the writer's began, so that snapshots look at the writer's at all.
$writer->do('BEGIN');
$writer->do(q{UPDATE ff.flags SET description = 'in progress' WHERE key = 'rolled'});
$node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
begin_old();
$reader->do(q{DECLARE c CURSOR FOR SELECT e.value FROM generate_series(1, 9) g, ff_evaluate('f', jsonb_build_object('g', g)) e});
$writer->do('SAVEPOINT s');
$writer->do(q{UPDATE ff.flags SET description = 'still' WHERE key = 'rolled'});
$reader->do(q{UPDATE ff.flags SET default_value = '2' WHERE key = 'f'});
is(both($reader, 'f'), '2 - 2 -', 'a change of our own');
is(Ff::value($reader, 'FETCH 1 FROM c'), 1, 'a cursor that is older than that');
is(both($reader, 'f'), '2 - 2 -', 'spoils nothing for the next statement');
$_->do('ROLLBACK') for $reader, $writer;

# ---------- columns ----------
is(both($reader, 'rolled'), 'true - true -', 'a flag that is rolled out');
$writer->do('ALTER TABLE ff.flags RENAME COLUMN rollout TO other');
is(error_code($reader, 'rolled'), 'PROVIDER_NOT_READY', 'without a column that is needed');
$writer->do('ALTER TABLE ff.flags RENAME COLUMN other TO rollout');
is(both($reader, 'rolled'), 'true - true -', 'with it again');
$writer->do('ALTER TABLE ff.flags DROP COLUMN rollout, ADD COLUMN rollout jsonb');
is(both($reader, 'rolled'), 'false - false -', 'with another of that name');

# ---------- namespaces ----------
$writer->do(q{CREATE TABLE moved (LIKE ff.flags INCLUDING ALL)});
$writer->do(q{INSERT INTO moved (key, type, default_value, version, created_at, updated_at) VALUES ('f', 'number', '7', 1, now(), now())});
$writer->do('BEGIN');
$writer->do(q{UPDATE ff.namespaces SET flags = 'moved'});
is(both($writer, 'f') . both($reader, 'f'), '7 - 7 -1 - 1 -', 'a namespace with another table, seen by who moved it');
$writer->do('ROLLBACK');
is(both($writer, 'f'), '1 - 1 -', 'rolled back');
begin_old();
$writer->do(q{UPDATE ff.namespaces SET flags = 'moved'});
$reader->do(q{SELECT ff_evaluate('f')});
$reader->do('COMMIT');
is(both($reader, 'f'), '7 - 7 -', 'an old snapshot spoils nothing for the next');
is(both(Ff::session($node), 'f'), '7 - 7 -', 'as a new session says');

$_->disconnect for $reader, $writer;
$node->stop;
done_testing();
