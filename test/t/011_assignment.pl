# Who has which variant over restarts and changes of a rollout; and exposures on a standby.

use strict;
use warnings;
use Test::More;
use Ff;

my $node = Ff::cluster('primary', q{shared_preload_libraries = 'ff'}, 'ff.exposure_flush_interval = 200ms');
sub ask { return $node->safe_psql('postgres', $_[0]); }

ask(q{INSERT INTO ff.flags (key, type, default_value, variants, rollout, experiment) VALUES
	('exp', 'string', '"none"', '{"a": "A", "b": "B"}', '[{"variant": "a", "weight": 20}, {"variant": "b", "weight": 20}]', '{"active": true}')});
my $assigned = q{SELECT string_agg(coalesce(ff_string('exp', jsonb_build_object('user_id', 'u' || g)), '-'), '' ORDER BY g) FROM generate_series(1, 2000) g};

# how many of each kind moved, as "A>B" and so on
sub moves
{
	my ($before, $after) = map { [ map { $_ eq 'none' ? 'n' : $_ } m/(none|A|B)/g ] } @_;
	my %moved;
	for my $i (0 .. $#$before) { $moved{"$before->[$i]>$after->[$i]"}++ if $before->[$i] ne $after->[$i]; }
	return join ' ', map { "$_" } sort keys %moved;
}

my $first = ask($assigned);
is(moves($first, ask($assigned)), '', 'nobody moves from one evaluation to the next');
$node->restart;
is(moves($first, ask($assigned)), '', 'nor over a restart');
ask(q{UPDATE ff.flags SET tags = '["x"]', experiment = '{"active": true, "hypothesis": "h"}' WHERE key = 'exp'});
is(moves($first, ask($assigned)), '', 'nor when the flag is changed otherwise');
ask(q{SET ff.allow_experiment_change = on; UPDATE ff.flags SET rollout = '[{"variant": "a", "weight": 20}, {"variant": "b", "weight": 60}]' WHERE key = 'exp'});
my $grown = ask($assigned);
is(moves($first, $grown), 'n>B', 'when the last share grows, only those who join move');
ask(q{SET ff.allow_experiment_change = on; UPDATE ff.flags SET rollout = '[{"variant": "a", "weight": 30}, {"variant": "b", "weight": 60}]' WHERE key = 'exp'});
is(moves($grown, ask($assigned)), 'B>A n>B', 'when the first share grows, those at its border move: why it is frozen');
ask(q{SET ff.allow_experiment_change = on; UPDATE ff.flags SET rollout = '[{"variant": "a", "weight": 20}, {"variant": "b", "weight": 60}]' WHERE key = 'exp'});
is(moves($grown, ask($assigned)), '', 'taken back, everybody has what he had');
ask(q{UPDATE ff.flags SET overrides = '[{"variant": "a", "users": ["u1", "u2", "u3"]}]' WHERE key = 'exp'});
my $overridden = ask($assigned);
my @before = $grown =~ m/(none|A|B)/g;
my @after = $overridden =~ m/(none|A|B)/g;
is(join(' ', @after[0 .. 2]), 'A A A', 'those in an override list move');
is_deeply([ @after[3 .. $#after] ], [ @before[3 .. $#before] ], '... and nobody else');

# ---------- a standby ----------
$node->poll_query_until('postgres', 'SELECT buffered = 0 AND flushed > 0 FROM ff.exposure_stats') or die 'never flushed';
my $written = ask('SELECT count(*) FROM ff.exposures');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sub ask_standby { return $standby->safe_psql('postgres', $_[0]); }
ask_standby(q{SELECT count(ff_string('exp', jsonb_build_object('user_id', 'standby' || g))) FROM generate_series(1, 300) g});
is(ask_standby('SELECT ff_flush_exposures()'), '0', 'on a standby nothing is flushed, and nothing fails');
my $held = ask_standby('SELECT count(*) FROM ff.exposure_buffer');
cmp_ok($held, '>', 100, 'the buffer holds what is noted there');
is(ask_standby('SELECT noted = buffered AND flushed = 0 AND errors = 0 AND worker_pid IS NULL FROM ff.exposure_stats'), 't', 'the books show it');
like(ask_standby('SELECT problem FROM ff_status()'), qr/standby/, '... and so does ff_status()');
$standby->restart;
is(ask_standby('SELECT count(*) FROM ff.exposure_buffer'), $held, 'it lives through a restart');
$node->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT buffered = 0 FROM ff.exposure_stats') or die 'never flushed';
is(ask_standby('SELECT count(*) FROM ff.exposures'), $written + $held, 'after promotion a worker writes it down');

$standby->stop;
done_testing();
