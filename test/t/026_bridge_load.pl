# More calls at once than the bridge has connections, calls that wait for a lock, and events of a size
# that only a few of fit into its memory.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bridge;
use Ff;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Ff::cluster('load', 'max_connections = 40');
$node->safe_psql('postgres', q{INSERT INTO ff.flags (key, type, default_value)
	SELECT 'flag-' || i, 'boolean', 'false' FROM generate_series(1, 12) i});
my $bridge = Bridge->new($node, options => [ '--pool-size', 2, '--statement-timeout', '60s' ]);

# Sends requests at once; returns what runs.
sub send_all
{
	my (@requests) = @_;
	return map {
		my $call = { out => '' };
		$call->{run} = IPC::Run::start([ 'curl', '-s', '-w', "\n%{http_code}", @$_ ], '>', \$call->{out});
		$call;
	} @requests;
}

sub status_of { my ($call) = @_; $call->{run}->finish; return $call->{out} =~ /\n(\d+)\z/ ? $1 : $call->{out} }

# ---------- calls that wait ----------

my $lock = Ff::session($node);
$lock->do(q{BEGIN});
$lock->do(q{SELECT FROM ff.flags WHERE key IN ('flag-1', 'flag-2') FOR UPDATE});
my @first = send_all(map { [ '-XPOST', $bridge->url("/flags/flag-$_/disable") ] } 1 .. 2);
ok(Bridge::wait_until(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'}) == 2 }),
	'both connections are taken, and wait for a lock');
my @others = send_all(
	(map { [ '-XPOST', $bridge->url("/flags/flag-$_/disable") ] } 3 .. 8),
	(map { [ '-XPATCH', '-H', 'Content-Type: application/json', '-d', qq({"description": "number $_"}), $bridge->url("/flags/flag-$_") ] } 9 .. 10),
	[ '-XDELETE', $bridge->url('/flags/flag-11') ],
	[ $bridge->url('/flags/flag-12/audit') ]);
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_pool_waiting') == 10 }), 'the others wait for a connection');
is($bridge->request('POST', '/evaluate/flag-1', { context => {} })->{status}, 200, 'evaluation waits for nobody');
$lock->do('COMMIT');
is(join(' ', map { status_of($_) } @first, @others), join(' ', (200) x 12), 'all of them are carried out');
is($node->safe_psql('postgres', q{SELECT string_agg(key, ' ' ORDER BY length(key), key) FROM ff.flags WHERE NOT enabled}),
	join(' ', map { "flag-$_" } 1 .. 8), 'as they were asked for');
is($node->safe_psql('postgres', q{SELECT string_agg(description, ', ' ORDER BY length(key), key) FROM ff.flags}), 'number 9, number 10',
	'each with its own parameters');
is($node->safe_psql('postgres', q{SELECT state FROM ff.flags WHERE key = 'flag-11'}), 'archived', 'and its own function');

# one that waits for too long is told so, and not sent any more
$bridge->stop;
$bridge = Bridge->new($node, options => [ '--pool-size', 1, '--statement-timeout', '1s' ]);
$lock->do('BEGIN');
$lock->do(q{SELECT FROM ff.flags WHERE key = 'flag-1' FOR UPDATE});
my @late = send_all(map { [ '-XPOST', $bridge->url("/flags/flag-1/enable") ] } 1 .. 4);
is(join(' ', map { status_of($_) } @late), '503 503 503 503', 'who waits for too long is told so');
$lock->do('COMMIT');
is($node->safe_psql('postgres', q{SELECT enabled FROM ff.flags WHERE key = 'flag-1'}), 'f', 'and what was not done is not done later');
$bridge->stop;

# ---------- large events ----------

$node->safe_psql('postgres', q{INSERT INTO ff.flags (key, type, default_value)
	VALUES ('large', 'json', jsonb_build_object('text', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 15000) i)))});
sub change { return $node->safe_psql('postgres', sprintf(q{DO $$ BEGIN FOR i IN 1 .. %d LOOP
	UPDATE ff.flags SET description = i::text WHERE key = 'large'; END LOOP; END $$}, $_[0])) }
change(150);
$bridge = Bridge->new($node, options => [ '--ring-size', '1MB' ]);
my $stream = $bridge->stream;
$stream->wait_for(1);
cmp_ok($bridge->metric('process_resident_memory_bytes'), '<', 120e6, 'the past is loaded as far as there is room for it');
change(150);
my $head = $node->safe_psql('postgres', 'SELECT max(id) FROM ff.events');
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_event_id') == $head }), 'many large events at once are followed');
is($bridge->metric('ff_bridge_database_losses_total'), 0, 'without losing the connection');
cmp_ok($bridge->metric('process_resident_memory_bytes'), '<', 200e6, 'and within bounds');
is($bridge->request('GET', '/flags/large')->{json}{description}, 150, 'up to the last one');

done_testing();
