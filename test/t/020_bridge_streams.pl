# Streams of events, whatever happens to bridges, database and connections: nothing is lost, nothing
# comes twice, nothing out of order. The first part makes all of that happen at once, for
# FF_BRIDGE_SECONDS (20).

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bridge;
use Ff;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{FF_BRIDGE_SECONDS} || 20;
my $seed = $ENV{FF_BRIDGE_SEED} || int(rand(2**31));
srand($seed);
note("seed $seed");

my $node = Ff::cluster('streams', 'max_connections = 60');
$node->safe_psql('postgres', q{
	INSERT INTO ff.flags (key, type, default_value)
	SELECT 'flag-' || i, 'boolean', 'false' FROM generate_series(1, 20) i});

sub head { return $node->safe_psql('postgres', 'SELECT max(id) FROM ff.events') }
sub hashes
{
	return map { split /\|/ } split /\n/,
	  $node->safe_psql('postgres', "SELECT id, left(encode(hash, 'hex'), 8) FROM ff.events");
}

# Changes flags as fast as it can, in a process of its own; what fails is tried again.
sub writer
{
	my $pid = fork();
	return $pid if $pid;
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	until ($stop || getppid() == 1)
	{
		eval {
			my $session = Ff::session($node);
			until ($stop || getppid() == 1)
			{
				$session->do(q{UPDATE ff.flags SET description = 't=' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
					WHERE key = 'flag-' || (1 + floor(random() * 20)::int)});
			}
			1;
		} or sleep 0.05;
	}
	require POSIX;
	POSIX::_exit(0);
}

# ---------- everything at once ----------

my @bridges = map { Bridge->new($node, options => [ '--ring-size', '64kB', '--drain-timeout', '1s', '--catch-up', '1000000', '--catch-up-wait', '1h' ]) } 1 .. 2;
my $load = Bridge::load(\@bridges, '--clients', 200, '--cut', 300, '--retry', 100);
my $writer = writer();
my %happened;
my $end = time + $seconds;
while (time < $end)
{
	my $bridge = $bridges[ rand @bridges ];
	my $what = (qw(kill kill term backends backends backends restart immediate nothing))[ rand 9 ];
	$happened{$what}++;
	if ($what eq 'kill') { $bridge->stop('KILL'); sleep rand 0.5; $bridge->start(1) }
	elsif ($what eq 'term') { $bridge->stop('TERM'); $bridge->start(1) }
	elsif ($what eq 'restart') { $node->restart }
	elsif ($what eq 'immediate') { $node->stop('immediate'); sleep rand 1; $node->start }
	elsif ($what eq 'backends')
	{
		$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()});
	}
	sleep 0.7;
}
kill 'TERM', $writer;
waitpid $writer, 0;
my $head = head();
my $found = $load->finish($head);
note(join ', ', "$head events", map { "$_ $happened{$_}" } sort keys %happened);
note(join ', ', map { "$_ $found->{$_}" } grep { !ref $found->{$_} } sort keys %$found);
diag($_) for @{ $found->{late} };
is($found->{behind}, 0, 'every client has come to the end');
is($found->{missing}, 0, 'no event is missing');
is($found->{repeated}, 0, 'none comes twice');
is($found->{backward}, 0, 'none out of order');
is($found->{conflicts}, 0, 'and all clients were told the same');
is($found->{snapshots}, 200, 'each client had one snapshot, its first: what it missed came from ring and log');
cmp_ok($found->{deliveries}, '>', 1000, 'that was not for want of events');
cmp_ok($found->{reconnects}, '>', 200, 'nor of lost connections');
my %log = hashes();
is(scalar(grep { ($log{$_} // '') ne $found->{events}{$_} } keys %{ $found->{events} }), 0, 'what they were told is the log');
$_->stop for @bridges;

# ---------- Last-Event-ID ----------

my $bridge = Bridge->new($node, options => [ '--ring-size', '64kB' ]);

# Changes a flag so many times, each in a transaction of its own; returns the number of the last event.
sub change
{
	my ($key, $times) = @_;
	$node->safe_psql('postgres', sprintf(q{DO $$ BEGIN FOR i IN 1 .. %d LOOP
		UPDATE ff.flags SET description = repeat('x', 200) || clock_timestamp() WHERE key = '%s'; COMMIT; END LOOP; END $$},
		$times // 1, $key));
	return head();
}

# The id of an event as streams tell it.
sub id_of
{
	my ($number) = @_;
	my %all = hashes();
	return "$number-$all{$number}";
}

sub numbers { return join ',', map { $_->{id} =~ /^(\d+)/ } @_ }

$head = change('flag-1');
my $stream = $bridge->stream;
my ($first) = $stream->wait_for(1);
is($first->{event}, 'snapshot', 'without an id: a snapshot');
is($first->{id}, id_of($head), 'which names the event that it is the state of');
like(($stream->events)[0]{retry}, qr/^\d{4}$/, 'after a time to wait before reconnecting');
is(scalar(@{ JSON::PP::decode_json($first->{data})->{flags} }), 20, 'with all flags');
change('flag-2');
my @events = $stream->wait_for(2);
is($events[1]{event}, 'flag_updated', 'then what changes');
my $data = JSON::PP::decode_json($events[1]{data});
is_deeply([ @$data{qw(event_id namespace key action)}, $data->{flag}{key}, scalar @events ],
	[ $head + 1, 'default', 'flag-2', 'updated', 'flag-2', 2 ], 'and only that');

# Opens a stream with an id, changes a flag, and returns what came, first the numbers.
sub resume
{
	my ($id, $count, $path, @options) = @_;
	my $one = $bridge->stream($path // '/stream', @options, defined $id ? ('-H', "Last-Event-ID: $id") : ());
	my @came = $one->wait_for($count);
	return @came;
}

$head = change('flag-3', 3);
is(numbers(resume(id_of($head - 2), 2)), ($head - 1) . ",$head", 'an event of the ring: what follows it');
is(numbers(resume(undef, 2, '/stream?last_event_id=' . id_of($head - 2))), ($head - 1) . ",$head", 'also in the query');
$stream = $bridge->stream('/stream', '-H', 'Last-Event-ID: ' . id_of($head));
Bridge::wait_until(sub { scalar $stream->events >= 1 });
change('flag-3');
is(numbers($stream->wait_for(1)), $head + 1, 'the head: nothing, and then what comes');

my $old = head();
change('flag-4', 400);
$head = head();
cmp_ok($bridge->metric('ff_bridge_stream_starts_total{from="log"}'), '==', 0, 'so far all was in the ring');
is(numbers(resume(id_of($old), $head - $old)), join(',', $old + 1 .. $head), 'an event that only the log has: all that follows it');
cmp_ok($bridge->metric('ff_bridge_stream_starts_total{from="log"}'), '==', 1, 'read from the log');
for my $bad ("$old-00000000", "$head-ffffffff", ($head + 5) . '-12345678', '0-00000000', 'nonsense', '1', '-1-12345678')
{
	my ($event) = resume($bad, 1);
	is("$event->{event} " . numbers($event), "snapshot $head", "$bad: a snapshot");
}
my $ahead = $bridge->stream('/stream', '-H', 'Last-Event-ID: ' . ($head + 1) . '-00000000');
Bridge::wait_until(sub { scalar $ahead->events >= 1 });
change('flag-5');
is(($ahead->wait_for(1))[0]{event}, 'snapshot', 'a number above the head, whose event turns out to be another: a snapshot');

# ---------- filters ----------

$head = head();
$stream = $bridge->stream('/stream?keys=flag-1,flag-2&prefix=flag-1');
($first) = $stream->wait_for(1);
is(join(',', sort map { $_->{key} } @{ JSON::PP::decode_json($first->{data})->{flags} }),
	join(',', sort('flag-1', 'flag-2', map { "flag-$_" } 10 .. 19)), 'a filtered snapshot has the flags asked for');
change($_) for qw(flag-3 flag-2 flag-4 flag-17);
$node->safe_psql('postgres', q{INSERT INTO ff.segments (key, "if") VALUES ('somebody', '{"attr": "a", "op": "exists"}')});
is(join(',', map { $_->{event} } $stream->wait_for(4)), 'snapshot,flag_updated,flag_updated,segment_created',
	'then their changes, and those of segments');
my $start = head();
change(@$_) for ['flag-3'], ['flag-1'], [ 'flag-4', 300 ], ['flag-2'];
is(numbers(resume(id_of($start), 2, '/stream?keys=flag-1,flag-2')), join(',', $start + 2, head()), 'also from the log');

# ---------- namespaces ----------

is($bridge->status('/stream?namespace=later'), 404, 'no stream of a namespace that is not there');
$node->safe_psql('postgres', q{SELECT ff_create_namespace('later')});
ok(Bridge::wait_until(sub { $bridge->status('/flags?namespace=later') == 200 }), 'one that is made later is found');
$stream = $bridge->stream('/stream?namespace=later');
$stream->wait_for(1);
my $other = $bridge->stream;
$other->wait_for(1);
$node->safe_psql('postgres', q{INSERT INTO ff.later_flags (key, type, default_value) VALUES ('here', 'boolean', 'true')});
is(($stream->wait_for(2))[1]{event}, 'flag_created', 'its events come on its stream');
change('flag-1');
is(numbers(($other->wait_for(2))[1]), head(), 'and on no other');

# ---------- slow and many ----------

$bridge->stop;
$bridge = Bridge->new($node, options => [ '--ring-size', '64kB', '--max-lag', '32kB', '--keepalive', '1s', '--max-streams', 3 ]);
$stream = $bridge->stream;
ok(Bridge::wait_until(sub { grep { $_->{comment} } $stream->events }), 'a stream where nothing happens has comments');
my @more = map { $bridge->stream } 1 .. 3;
ok($more[2]->wait_for_end, 'one stream too many is ended');
like($more[2]{out}, qr/\Aretry: \d+\n\n\z/, 'told when to come back');
$_->close for $stream, @more;
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_streams') == 0 }), 'all are gone');

# a client that takes nothing: the sockets' buffers hold some megabytes
my $slow = Bridge::load([$bridge], '--clients', 1, '--stall', 1);
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_streams') == 1 }), 'a slow client');
$node->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1 .. 40 LOOP FOR k IN 1 .. 20 LOOP
	UPDATE ff.flags SET description = repeat('y', 20000) || i WHERE key = 'flag-' || k; END LOOP; COMMIT; END LOOP; END $$});
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_streams_ended_total{reason="lag"}') >= 1 }),
	'one that falls behind is closed');
$slow->finish(0);

# ---------- the database ----------

$bridge->stop;
$node->stop;
$bridge = Bridge->new($node, not_ready => 1);
is($bridge->status('/readyz'), 503, 'a bridge that never reached the database is not ready');
$node->start;
ok(Bridge::wait_until(sub { $bridge->status('/readyz') == 200 }), 'and is when it is there');
$stream = $bridge->stream;
$stream->wait_for(1);

# another history: what was known is no past of what is there now
$node->safe_psql('postgres', q{DROP EXTENSION ff CASCADE; CREATE EXTENSION ff;
	INSERT INTO ff.flags (key, type, default_value) VALUES ('anew', 'boolean', 'false')});
@events = $stream->wait_for(2);
is("$events[1]{event} $events[1]{id}", 'snapshot ' . id_of(1), 'where the log is another one: a snapshot, on the same stream');

# SIGTERM
$stream = $bridge->stream;
$stream->wait_for(1);
is($bridge->stop('TERM'), 0, 'ended by SIGTERM, with exit code 0');
ok($stream->wait_for_end, 'and its streams with it');

done_testing();
