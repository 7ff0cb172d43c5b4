# The stream of sse-bridge as clients see it that are not ours: curl, the npm package eventsource, and Chromium.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Bridge;
use Clients;
use Ff;

Clients::need();
my $node = Ff::cluster('clients');
my $bridge;

# clients are told to wait for so long, in milliseconds; those that are shed, two to six times as long
my $retry = 300;
my @options = ('--retry-least', "${retry}ms", '--retry-most', "${retry}ms", '--keepalive', '1s', '--drain-timeout', '2s');

sub ask { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub flip { my ($key) = @_; return ask("UPDATE ff.flags SET enabled = NOT enabled WHERE key = '$key'"); }

# ids and keys of the events after one, as the database has them
my $id = q{id || '-' || left(encode(hash, 'hex'), 8)};
sub newest { return ask("SELECT $id FROM ff.events ORDER BY id DESC LIMIT 1"); }
sub logged { my ($after) = @_; return [ split /\n/, ask("SELECT $id || ' ' || object || '_' || action || ' ' || key FROM ff.events WHERE id > split_part('$after', '-', 1)::bigint ORDER BY id") ]; }

# the same as a client has them
sub events { my ($client) = @_; return [ map { "$_->{id} $_->{type} $_->{data}{key}" } grep { $_->{type} ne 'snapshot' } $client->told('event') ]; }
sub snapshots { my ($client) = @_; return scalar grep { $_->{type} eq 'snapshot' } $client->told('event'); }
sub wait_event { my ($client, $last) = @_; return $client->wait_told('event', sub { $_[0]{id} eq $last }); }
# waits until the bridge has an event
sub reach { my ($last) = @_; return Bridge::wait_until(sub { $bridge->request('POST', '/evaluate', {})->{headers}{'ff-event-id'} eq $last }); }
sub closed { my ($client) = @_; return scalar grep { $_->{state} == 2 } $client->told('error'); }

# events in the text of a stream: [id, type, data]
sub parse { return map { [/\Aid: (.*)\nevent: (.*)\ndata: (.*)\z/] } grep { /^id:/ } split /\n\n/, $_[0]; }
sub curl { return Clients->start('curl', '-sN', @_); }
sub has { my ($last) = @_; return sub { $_[0] =~ /^id: $last\nevent: .*\ndata: .*\n\n/m }; }

ask(q{INSERT INTO ff.flags (key, type, default_value) SELECT key, 'boolean', 'true' FROM unnest('{checkout,search,search-new,banner}'::text[]) key});
ask(q{CREATE ROLE bridge LOGIN; SELECT ff_grant('bridge', 'admin')});
$bridge = Bridge->new($node, port => Clients::free_port(), options => \@options, database => 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres user=bridge');

# ---------- curl -N ----------
my $curl = curl('-i', $bridge->url('/stream'));
my $first = newest();
$curl->wait_for('the snapshot', has($first));
my ($head, $text) = split /\r\n\r\n/, $curl->{out}, 2;
like($head, qr{\AHTTP/1\.1 200 OK\r\n}, 'curl: a stream is 200');
like($head, qr{^Content-Type: text/event-stream\r?$}mi, '... an event stream, and no charset is named');
like($head, qr{^Cache-Control: no-cache, no-transform\r?$}mi, '... that nobody may keep or change');
like($head, qr{^X-Accel-Buffering: no\r?$}mi, '... or collect');
like($text, qr/\Aretry: $retry\n\nid: $first\nevent: snapshot\ndata: \{.*\}\n\n/, 'first there is retry, then the snapshot, which has the id of the last event');
like($text, qr/"flags":\[[^\n]*"key": ?"banner"[^\n]*"key": ?"checkout"/, '... and the flags');

ask($_) for q{INSERT INTO ff.flags (key, type, default_value) VALUES ('new-no', 'boolean', 'true')}, q{UPDATE ff.flags SET description = E'Grüße\nan "alle"' WHERE key = 'new-no'},
	q{UPDATE ff.flags SET state = 'archived' WHERE key = 'new-no'}, q{UPDATE ff.flags SET state = 'active' WHERE key = 'new-no'},
	q{INSERT INTO ff.segments (key, included) VALUES ('staff', '["somebody"]')};
$curl->wait_for('events', has(newest()));
$curl->wait_for('a comment', sub { $_[0] =~ /^:\n\n/m });
($head, $text) = split /\r\n\r\n/, $curl->{out}, 2;
my ($snapshot, @events) = parse($text);
is_deeply([ map { "$_->[0] $_->[1] " . ($_->[2] =~ /"key":"([^"]*)"/)[0] } @events ], logged($first), 'each change is an event, with its id in the log');
is_deeply([ map { $_->[1] } @events ], [qw(flag_created flag_updated flag_archived flag_restored segment_created)], '... of its type');
unlike($text, qr/\r/, 'lines end in LF alone');
unlike($text, qr/^(?!id: |event: |data: |retry: |:$|$)/m, 'there are no other lines than id, event, data, retry and comments');
like($text, qr/^:\n\n/m, '... which keep it alive');
$curl->end('TERM');

# what follows an event is the same, byte by byte, wherever that was seen
my $after = $events[1][0];
my $missed = join '', map { "id: $_->[0]\nevent: $_->[1]\ndata: $_->[2]\n\n" } @events[ 2 .. $#events ];
for ([ 'Last-Event-ID', '-H', "Last-Event-ID: $after", $bridge->url('/stream') ], [ 'last_event_id', $bridge->url("/stream?last_event_id=$after") ],
	[ 'Last-Event-ID, which goes before last_event_id', '-H', "Last-Event-ID: $after", $bridge->url("/stream?last_event_id=$first") ])
{
	my ($name, @arguments) = @$_;
	my $resumed = curl(@arguments);
	$resumed->wait_for('what was missed', has($events[-1][0]));
	is($resumed->{out} =~ s/^:\n\n//gmr, "retry: $retry\n\n$missed", "by $name a stream goes on with what was missed, and no more");
	$resumed->end('TERM');
}
for ([ 'that is the last one', newest(), 'flag_disabled' ], [ 'of another history', $after =~ s/-.*/-00000000/r, 'snapshot' ], [ 'that is none', 'nonsense', 'snapshot' ])
{
	my ($name, $last, $type) = @$_;
	my $resumed = curl('-H', "Last-Event-ID: $last", $bridge->url('/stream'));
	$resumed->wait_for('retry', sub { $_[0] =~ /^retry/m });
	flip('banner');
	$resumed->wait_for('an event', sub { $_[0] =~ /^data: .*\n\n/m });
	is((parse($resumed->{out}))[0][1], $type, "after an id $name comes " . ($type eq 'snapshot' ? 'a snapshot' : 'what is new'));
	$resumed->end('TERM');
}

# ---------- npm eventsource ----------
my $client = Clients->node('eventsource.mjs', $bridge->url('/stream'));
my $seen = newest();
my $got = wait_event($client, $seen);
is($got->{type}, 'snapshot', 'eventsource: the first event is the snapshot');
is_deeply([ @{ $got->{data}{flags} }, @{ $got->{data}{segments} } ], [qw(banner checkout new-no search search-new staff)], '... of all');
flip('checkout');
is(wait_event($client, newest())->{data}{flag}{enabled}, JSON::PP::false, 'a change comes as an event of its name');

# What this client does while something is done to the bridge, during which things change: it comes back, and misses nothing.
sub survives
{
	my ($name, $deed) = @_;
	my $last = newest();
	wait_event($client, $last);
	$client->forget;
	$deed->();
	flip('search');
	wait_event($client, newest());
	is_deeply(events($client), logged($last), "$name: the client gets exactly what it missed");
	is(snapshots($client), 0, '... no snapshot');
	is_deeply([ grep { ($_->{last_event_id} // '') ne $last } $client->told('request') ], [], '... for it says what it has');
	is(closed($client), 0, '... and never gave up');
	return;
}

# the time between the end and the next try; timers may be early by a millisecond
sub waits
{
	my (@waits, $end);
	for ($client->told)
	{
		push @waits, $_->{ms} - $end if $_->{what} eq 'request' && defined $end;
		$end = $_->{what} eq 'error' ? $_->{ms} : undef;
	}
	return @waits;
}
sub change_all { flip($_) for qw(checkout banner search-new); return; }

survives('the bridge was killed', sub {
	$bridge->stop('KILL');
	change_all();
	$client->wait_told('error', sub { $_[0]{state} == 0 });
	$bridge->start;
});
cmp_ok(scalar waits(), '>', 0, 'it came back by itself');
is_deeply([ grep { $_ < $retry - 2 } waits() ], [], '... after the time that it was told, each time');

survives('the bridge was ended in good order', sub {
	is($bridge->stop('TERM'), 0, 'SIGTERM: the bridge ends its streams, and itself');
	change_all();
	$bridge->start;
});

survives('a bridge came without a database', sub {
	$bridge->stop('KILL');
	change_all();
	$node->stop('fast');
	$bridge->start(1);
	$client->wait_told('response', sub { $_[0]{status} == 200 });
	$node->start;
});

# a drain takes its time, so that clients don't all come at once; who has no stream yet is told to come back
my @herd = map { Clients->node('eventsource.mjs', $bridge->url("/stream?keys=checkout")) } 1 .. 3;
wait_event($_, newest()) for @herd;
survives('a bridge with more clients was ended', sub {
	is($bridge->stop('TERM'), 0, 'SIGTERM: the bridge ends all streams');
	change_all();
	$bridge->start;
});
for my $one (@herd)
{
	$one->wait_told('event', sub { $_[0]{type} ne 'snapshot' });
	is(closed($one), 0, '... and so do the others come back');
	is(snapshots($one), 1, '... without a second snapshot');
	$one->end;
}

# ---------- too many ----------
survives('a bridge for one stream', sub {
	$bridge->stop('KILL');
	$bridge->{options} = [ @options, '--max-streams', 1 ];
	$bridge->start;
	$client->wait_told('open', sub { 1 });
});
my $other = Clients->node('eventsource.mjs', $bridge->url('/stream'));
my $shed = $other->wait_told('response', sub { 1 });
is("$shed->{status} $shed->{type}", '200 text/event-stream', 'one stream too many is no error, which would be the end of it');
$other->wait_told('error', sub { $_[0]{state} == 0 });
is(scalar $other->told('event'), 0, '... it is told nothing but when to come back');
$client->end;
is(wait_event($other, newest())->{type}, 'snapshot', '... and gets in when there is room');
my ($error, $again) = (($other->told('error'))[0], ($other->told('request'))[1]);
cmp_ok($again->{ms} - $error->{ms}, '>=', 2 * $retry - 2, '... having waited longer than those who lose a stream');
is(closed($other), 0, '... without having given up');
$other->end;
$bridge->stop('KILL');
$bridge->{options} = \@options;
$bridge->start;

# ---------- filters ----------
for ([ 'keys=checkout,banner', [qw(banner checkout)], qr/^(checkout|banner)$/ ], [ 'prefix=search', [qw(search search-new)], qr/^search/ ],
	[ 'keys=banner&prefix=search-', [qw(banner search-new)], qr/^(banner|search-new)$/ ])
{
	my ($query, $flags, $wanted) = @$_;
	my $last = newest();
	reach($last);
	my $filtered = Clients->node('eventsource.mjs', $bridge->url("/stream?$query"));
	is_deeply(wait_event($filtered, $last)->{data}{flags}, $flags, "$query: the snapshot has flags of these keys");
	flip($_) for qw(checkout search banner search-new);
	flip('banner') if 'banner' =~ $wanted;
	my @logged = grep { (split / /)[2] =~ $wanted } @{ logged($last) };
	wait_event($filtered, (split / /, $logged[-1])[0]);
	is_deeply(events($filtered), \@logged, '... as have its events');
	$filtered->end;
}

# ---------- many flags ----------
ask(q{INSERT INTO ff.flags (key, type, default_value, description) SELECT 'many-' || g, 'boolean', 'true', repeat(md5(g::text) || ' ', 60) FROM generate_series(1, 3000) g});
reach(newest());
$client = Clients->node('eventsource.mjs', $bridge->url('/stream'));
$got = wait_event($client, newest());
cmp_ok($got->{bytes}, '>', 5_000_000, 'a snapshot of some MB');
is($got->{data}{texts}, ask(q{SELECT md5(string_agg(description, '' ORDER BY key)) FROM ff.flags}), '... arrives whole');

# ---------- Chromium ----------
my $chromium = Clients->node('browser.mjs', $bridge->url);
sub shows { my ($what, $text) = @_; return $chromium->wait_told('text', sub { $_[0]{id} eq $what && $_[0]{text} eq $text }); }

ask(q{UPDATE ff.flags SET enabled = true WHERE key = 'checkout'});
shows('checkout', 'new');
shows('state', 'open');
shows('count', ask('SELECT count(*) FROM ff.flags'));
pass('Chromium: a page shows a flag, of a snapshot of some MB');
$chromium->forget;
flip('checkout');
shows('checkout', 'old');
pass('a flag that is flipped in psql changes the page');
is(scalar $chromium->told('page'), 0, '... which is not loaded again');

for ([ 'killed', 'KILL' ], [ 'ended', 'TERM' ])
{
	my ($name, $signal) = @$_;
	my $last = newest();
	$chromium->forget;
	$bridge->stop($signal);
	shows('state', 'connecting');
	flip('checkout');
	$bridge->start;
	shows('state', 'open');
	shows('checkout', $signal eq 'KILL' ? 'new' : 'old');
	pass("the bridge was $name, and the page comes by what it missed, by itself");
	is_deeply([ grep { $_->{last_event_id} ne $last } $chromium->told('request') ], [], '... for the browser says what it has');
	is(scalar(grep { $_->{text} eq 'closed' } $chromium->told('text')), 0, '... and never gives up');
	is_deeply([ map { $_->{what} } $chromium->told('page'), $chromium->told('failure') ], [], '... nor is the page loaded again');
}

# what a page must know: its browser holds six connections for each origin, so one stream is enough for it
$chromium->say('open seven');
$chromium->wait_told('six', sub { 1 });
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_streams') == 8 }), 'of seven streams of a page, six are open (and those of the other page and of eventsource)');
$chromium->say('close one');
$chromium->wait_told('seventh', sub { 1 });
pass('... the seventh has waited for one of them to end');

$_->end for $chromium, $client;
is($bridge->stop('TERM'), 0, 'the bridge ends');
$node->stop;
done_testing();
