# Evaluation on a hot standby: what was replayed is seen, what was rolled back is not, and a session
# lives through promotion.

use strict;
use warnings;
use Test::More;
use Ff;

my $primary = Ff::cluster('primary');
$primary->safe_psql('postgres', q{INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '1')});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub caught_up { $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')); return; }

my $reader = Ff::session($standby);
my $ask = q{SELECT ff_number('f')};
is(Ff::value($reader, $ask), 1, 'a flag is evaluated on the standby');

$primary->safe_psql('postgres', q{UPDATE ff.flags SET default_value = '2' WHERE key = 'f'});
caught_up();
is(Ff::value($reader, $ask), 2, 'a change is seen after replay, in an open session');

$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
is(Ff::value($reader, $ask), 2, 'a transaction begins');
$primary->safe_psql('postgres', q{UPDATE ff.flags SET default_value = '3' WHERE key = 'f'});
caught_up();
is(Ff::value($reader, $ask), 2, 'and keeps its snapshot over a replayed change');
$reader->do('COMMIT');
is(Ff::value($reader, $ask), 3, 'which the next one sees');

my $writer = Ff::session($primary);
$writer->do('BEGIN');
$writer->do(q{UPDATE ff.flags SET default_value = '4' WHERE key = 'f'});
$primary->safe_psql('postgres', 'CHECKPOINT');
caught_up();
is(Ff::value($reader, $ask), 3, 'nothing of what is not committed');
$writer->do('ROLLBACK');
caught_up();
is(Ff::value($reader, $ask), 3, 'nor of what is rolled back');

$primary->safe_psql('postgres',
	q{INSERT INTO ff.flags (key, type, default_value) SELECT 'many-' || g, 'boolean', 'true' FROM generate_series(1, 1000) g});
caught_up();
is(Ff::value($reader, q{SELECT count(*) FROM ff_evaluate_all('{}')}), 1001, 'a thousand flags at once');
is(Ff::value($reader, q{SELECT detail::jsonb ->> 'reason' FROM ff_explain('f') WHERE stage = 'result'}), 'DEFAULT', 'explained there, too');

# tables that can't be read: unlogged ones here, other sessions' temporary ones there
my $answer = q{SELECT concat_ws(' ', value, reason, error_code) FROM ff_evaluate('f', '{}', '"fallback"')};
my $not_ready = '"fallback" ERROR_FALLBACK PROVIDER_NOT_READY';
for my $table ('ff.flags', 'ff.segments', 'ff.namespaces')
{
	$primary->safe_psql('postgres', "ALTER TABLE $table SET UNLOGGED");
	caught_up();
	is(Ff::value($reader, $answer), $table eq 'ff.segments' ? '3 DEFAULT' : $not_ready, "$table is unlogged: an answer");
	is(Ff::value($reader, q{SELECT reason FROM ff_evaluate_all('{}') WHERE flag_key IS NULL}), 'ERROR_FALLBACK', 'of all flags, too');
	is($primary->safe_psql('postgres', $answer), '3 DEFAULT', 'on the primary it can be read');
	$primary->safe_psql('postgres', "ALTER TABLE $table SET LOGGED");
	caught_up();
	is(Ff::value($reader, $ask), 3, 'and here when it is logged again');
}
$writer->do('CREATE TEMP TABLE own_flags (LIKE ff.flags INCLUDING ALL)');
$writer->do('CREATE TEMP TABLE own_segments (LIKE ff.segments INCLUDING ALL)');
$writer->do(q{INSERT INTO own_flags SELECT * FROM ff.flags WHERE key = 'f'});
$primary->safe_psql('postgres', q{ALTER TABLE ff.namespaces DISABLE TRIGGER ALL});
$writer->do(q{INSERT INTO ff.namespaces VALUES ('own', 'own_flags', 'own_segments')});
$writer->do(q{SET ff.namespace = 'own'});
is(Ff::value($writer, $answer), '3 DEFAULT', 'a temporary table is read by the session that has it');
is($primary->safe_psql('postgres', "SET ff.namespace = 'own'; $answer"), $not_ready, 'by another it is not');
is($primary->safe_psql('postgres', q{SELECT reason FROM ff_evaluate_all('{}', 'own')}), 'ERROR_FALLBACK', 'of all flags, too');

$writer->disconnect;
$primary->stop;
$standby->promote;
is(Ff::value($reader, $ask), 3, 'the session lives through promotion');
is(Ff::value($reader, q{SELECT ff_number('f') || ' ' || coalesce(pg_current_xact_id_if_assigned()::text, 'none')}), '3 none', 'evaluation takes no transaction id');
$standby->safe_psql('postgres', q{UPDATE ff.flags SET default_value = '5' WHERE key = 'f'});
is(Ff::value($reader, $ask), 5, 'and sees the first change of the new primary');
$reader->do(q{UPDATE ff.flags SET default_value = '6' WHERE key = 'f'});
is(Ff::value($reader, $ask), 6, 'and its own');

$reader->disconnect;
$standby->stop;
done_testing();
