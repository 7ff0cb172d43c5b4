# Logical replication: a subscriber's sessions see what apply writes there, in any order, and the
# rows are those of the publisher.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $publisher = Ff::cluster('publisher', 'wal_level = logical');
my $subscriber = Ff::cluster('subscriber', 'wal_level = logical');
my $reader = Ff::session($subscriber);
my $ask = q{SELECT ff_number('f')};

sub caught_up { $publisher->wait_for_catchup('sub'); return; }

$publisher->safe_psql('postgres', q{
	INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'number', '1');
	CREATE PUBLICATION pub FOR TABLE ff.flags, ff.segments;
});
is(Ff::value($reader, q{SELECT error_code FROM ff_evaluate('f')}), 'FLAG_NOT_FOUND', 'nothing was copied yet');
$subscriber->safe_psql('postgres', q{CREATE SUBSCRIPTION sub CONNECTION $$} . $publisher->connstr('postgres') . q{$$ PUBLICATION pub});
$subscriber->wait_for_subscription_sync($publisher, 'sub');
is(Ff::value($reader, $ask), 1, 'the initial copy');

$publisher->safe_psql('postgres', q{UPDATE ff.flags SET default_value = '2' WHERE key = 'f'});
caught_up();
is(Ff::value($reader, $ask), 2, 'a change is seen in an open session');

$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
is(Ff::value($reader, $ask), 2, 'a transaction begins');
$publisher->safe_psql('postgres', q{UPDATE ff.flags SET default_value = '3' WHERE key = 'f'});
caught_up();
is(Ff::value($reader, $ask), 2, 'keeps its snapshot');
$reader->do('COMMIT');
is(Ff::value($reader, $ask), 3, 'and the next one has the change');

$publisher->safe_psql('postgres', q{
	BEGIN;
	SET CONSTRAINTS ALL DEFERRED;
	INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('a', 'boolean', 'true', '[{"flag": "z", "variant": "on"}]');
	INSERT INTO ff.flags (key, type, default_value) VALUES ('z', 'boolean', 'true');
	COMMIT;
});
caught_up();
is(Ff::value($reader, q{SELECT reason FROM ff_evaluate('a')}), 'DEFAULT', 'a flag that came before the one it needs');
my $versions = q{SELECT string_agg(ff_flag(key)::text, ' ' ORDER BY key) FROM ff.flags};
is(Ff::value($reader, $versions), $publisher->safe_psql('postgres', $versions), 'versions and times are the publisher\'s');

$reader->disconnect;
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
$subscriber->stop;
$publisher->stop;
done_testing();
