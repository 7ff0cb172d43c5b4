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
