# sse-bridge as a daemon: its options and where they come from, what it reports of itself, and exposures that it forwards.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bridge;
use Digest::SHA qw(hmac_sha256_hex);
use Ff;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $program = "$ENV{FF_SOURCE}/build/sse-bridge/sse-bridge";
my $directory = PostgreSQL::Test::Utils::tempdir;
my $json = JSON::PP->new->utf8->canonical;

# Runs it to its end: exit code, stdout and stderr.
sub run_bridge
{
	my ($environment, @options) = @_;
	local @ENV{ keys %$environment } = values %$environment;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $program, @options ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($? & 127 ? undef : $? >> 8, $out, $err);
}

sub file
{
	my ($name, $text) = @_;
	open(my $file, '>', "$directory/$name") or die "$directory/$name: $!";
	print $file $text;
	close($file) or die;
	return "$directory/$name";
}

# ---------- options ----------

my ($code, $out, $err) = run_bridge({}, '--help');
is("$code|$err", '0|', '--help');
my %options = map { $_ => 1 } $out =~ /^  --([a-z-]+) /gm;
cmp_ok(scalar keys %options, '>', 30, '... lists the options');
like($out, qr/^  --listen +address and port to serve on \(127\.0\.0\.1:8080\)$/m, '... with what they are at first');
($code, $out) = run_bridge({}, '--version');
like("$code|$out", qr/^0\|sse-bridge \d+\.\d+\n$/, '--version');
is_deeply([ run_bridge({}, '--check-config') ], [ 0, "the configuration is right\n", '' ], '--check-config');

sub is_wrong
{
	my ($environment, $options, $pattern, $what) = @_;
	($code, $out, $err) = run_bridge($environment, '--check-config', @$options);
	is("$code|$out", '1|', "wrong: $what");
	return like($err, $pattern, '... says why');
}

is_wrong({}, ['--nothing'], qr/unrecognized option '--nothing'\n.*--help/, 'an option that is not there');
is_wrong({}, ['argument'], qr/there is no argument "argument"/, 'an argument');
is_wrong({}, ['--listen'], qr/option '--listen' requires an argument/, 'an option without a value');
is_wrong({}, [ "--$_->[0]", $_->[1] ], qr/command line: $_->[0] is not "\Q$_->[1]\E": it wants a/, "$_->[0] $_->[1]")
  for [ 'pool-size', 'x' ], [ 'pool-size', '-1' ], [ 'pool-size', '1.5' ], [ 'pool-size', '' ], [ 'pool-size', '99999999999' ], [ 'keepalive', '10 s' ], [ 'keepalive', '5d' ], [ 'keepalive', '1e3' ],
  [ 'ring-size', '4MiB' ], [ 'ring-size', '999999999GB' ];
is_wrong({}, [ '--log-level', 'loud' ], qr/log-level is not "loud": it wants debug, info, warning or error/, 'a level');
is_wrong({}, [ '--log-format', 'xml' ], qr/it wants logfmt or json/, 'a format');
is_wrong({}, [ "--$_->[0]", $_->[1] ], qr/$_->[0] must/, "$_->[0] $_->[1]") for [ 'pool-size', '0' ], [ 'keepalive', '10ms' ], [ 'ring-size', '1kB' ], [ 'max-header', '100' ], [ 'poll-interval', '1ms' ], [ 'retry-most', '1ms' ];
is_wrong({}, [ $_->[0], $_->[1] ], qr/a password on the command line is seen by everybody/, "a password in $_->[0]")
  for [ '--database', 'host=x password=secret' ], [ '--database', 'postgresql://user:secret@host/db' ], [ '--write-database', 'password=x' ], [ '--database', 'postgresql://host/db?password=x' ];
unlike($err, qr/secret|=x/, '... and is not said again');
is_wrong({}, [ '--config', "$directory/nowhere" ], qr/nowhere: No such file/, 'a file that is not there');
is_wrong({}, [ '--config', file('bad', "# a comment\n\npool-size = 3\nnothing = 1\n") ], qr/bad:4: there is no option "nothing"/, 'an option in the file');
is_wrong({}, [ '--config', file('bad', "pool-size\n") ], qr/bad:1: this is not name = value: pool-size/, 'a line of the file');
is_wrong({}, [ '--config', file('bad', "keepalive = soon\n") ], qr/bad:1: keepalive is not "soon"/, 'a value in the file');
is_wrong({ SSE_BRIDGE_POOL_SIZE => 'many' }, [], qr/SSE_BRIDGE_POOL_SIZE: pool-size is not "many"/, 'a value in the environment');
is_deeply([ run_bridge({}, '--check-config', '--config', file('good', " listen = 127.0.0.1:0 \r\ndatabase = host=x password=secret\n# pool-size = x\nlog-format=json")) ], [ 0, "the configuration is right\n", '' ], 'a file may have a password');

# the file, which the environment overrules, which the command line overrules: each with a level that lets the others through, or not
my $node = Ff::cluster('operation', 'max_connections = 40', 'ff.exposure_sink = table');
my $database = 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres';
my $configuration = "$directory/bridge.conf";
for my $from ([ 'the file', 'json', { }, [] ], [ 'the environment overrules it', 'logfmt', { SSE_BRIDGE_LOG_FORMAT => 'logfmt' }, [] ], [ 'the command line overrules that', 'json', { SSE_BRIDGE_LOG_FORMAT => 'logfmt' }, [ '--log-format', 'json' ] ])
{
	my ($what, $format, $environment, $given) = @$from;
	file('bridge.conf', "log-format = json\nkeepalive = 1s\n");
	local @ENV{ keys %$environment } = values %$environment;
	local $ENV{SSE_BRIDGE_CONFIG} = $configuration;
	my $bridge = Bridge->new($node, options => $given);
	like(slurp_file($bridge->{log}), $format eq 'json' ? qr/^\{.*"event":"listening"/m : qr/^time=.* event=listening/m, "options: $what");
	is($bridge->stop, 0, '... a bridge');
}

# libpq's own
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
	is(Bridge->new($node, database => '')->status('/flags'), 200, q{libpq's variables say which database});
	local $ENV{PGSERVICEFILE} = file('service', "[flags]\nhost=" . $node->host . "\nport=" . $node->port . "\ndbname=postgres\n");
	delete local @ENV{qw(PGHOST PGPORT PGDATABASE)};
	is(Bridge->new($node, database => 'service=flags')->status('/flags'), 200, '... or a service file');
}

# ---------- where it serves ----------

sub is_refused
{
	my ($address, $pattern) = @_;
	($code, $out, $err) = run_bridge({}, '--database', $database, '--listen', $address);
	is("$code|$out", '1|', "not on $address");
	return like($err, $pattern, '... says why');
}
is_refused($_, qr/without API keys the bridge serves on a loopback address only/) for '0.0.0.0:0', '[::]:0', '192.0.2.1:8080';
is_refused($_, qr/listen is no address/) for '8080', '127.0.0.1', ':8080', '127.0.0.1:';
is_refused('127.0.0.1:nothing', qr/the address to listen on isn't known/);
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1) or die;
is_refused('127.0.0.1:' . $taken->sockport, qr/can't listen.*Address already in use/);

# ---------- SIGHUP ----------

file('bridge.conf', "keepalive = 1h\nlog-level = info\nmax-body = 1kB\n");
my $bridge = Bridge->new($node, options => [ '--config', $configuration, '--pool-size', '3' ]);
my $stream = $bridge->stream;
$stream->wait_for(1);
my $long = { context => { a => 'x' x 2000 } };
is($bridge->request('POST', '/evaluate', $long)->{status}, 413, 'options of the file');
sub reload { my ($text) = @_; my $before = () = slurp_file($bridge->{log}) =~ /the configuration (?:was|is)/g; file('bridge.conf', $text); kill 'HUP', $bridge->{pid}; return Bridge::wait_until(sub { my $now = () = slurp_file($bridge->{log}) =~ /the configuration (?:was|is)/g; $now > $before }); }
ok(reload("keepalive = 1s\nlog-level = info\nlog-format = json\nring-size = 8MB\npool-size = 9\nlisten = 127.0.0.1:1\n"), 'SIGHUP reads them again');
is($bridge->request('POST', '/evaluate', $long)->{status}, 200, '... what can change does');
ok(Bridge::wait_until(sub { grep { $_->{comment} } $stream->events }), '... for streams that are open, too');
my $log = slurp_file($bridge->{log});
like($log, qr/option changes at the next start only"? option=ring-size/, '... what can not is told');
unlike($log, qr/option=(?:pool-size|listen)/, '... but not what the command line overrules');
ok(reload("keepalive = soon\n"), 'a file that is wrong');
like(slurp_file($bridge->{log}), qr/"event":"the configuration is wrong, and stays as it was"/, '... changes nothing, and is told');
is($bridge->request('POST', '/evaluate', $long)->{status}, 200, '... and the bridge goes on');

# ---------- metrics ----------

# All of Prometheus' text format 0.0.4, strictly: samples by their names with labels, types by names.
sub parse_metrics
{
	my ($text) = @_;
	my (%samples, %types, %helps, @wrong, $family);
	push @wrong, 'no line feed at the end' unless $text =~ /\n\z/;
	for (split /\n/, $text)
	{
		if (/^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\]|\\\\|\\n)+)$/) { push @wrong, "two helps: $_" if $helps{$1}++; $family = $1; next; }
		if (/^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/) { push @wrong, "a type that has no help before it, or another: $_" if $types{$1} || ($family // '') ne $1; $types{$1} = $2; next; }
		my ($name, $labels, $value) = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)*\})? ([-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|Inf)|NaN)$/ or do { push @wrong, "no line: $_"; next; };
		my $base = $name;
		$base =~ s/_(?:bucket|sum|count)$// if ($types{ $family // '' } // '') eq 'histogram';
		push @wrong, "outside its family: $_" unless defined $family && $base eq $family && $types{$family};
		push @wrong, "a counter's name: $_" if ($types{$base} // '') eq 'counter' && ($name !~ /_total$/ || $value < 0);
		push @wrong, "twice: $_" if exists $samples{ $name . ($labels // '') };
		$samples{ $name . ($labels // '') } = $value;
	}
	for my $name (grep { $types{$_} eq 'histogram' } keys %types)
	{
		my $last = 0;
		my @bounds = $text =~ /^\Q$name\E_bucket\{le="(.*?)"\}/gm;
		push @wrong, "$name: its last bucket" if ($bounds[-1] // '') ne '+Inf';
		for my $i (0 .. $#bounds)
		{
			push @wrong, "$name: buckets shrink" if $samples{qq(${name}_bucket{le="$bounds[$i]"})} < $last;
			push @wrong, "$name: bounds" if $i > 0 && $i < $#bounds && $bounds[$i] <= $bounds[ $i - 1 ];
			$last = $samples{qq(${name}_bucket{le="$bounds[$i]"})};
		}
		push @wrong, "$name: its count" if $last != $samples{"${name}_count"};
	}
	push @wrong, "a type without samples: $_" for grep { my $name = $_; !grep { /^\Q$name\E(?:_bucket|_sum|_count)?(?:\{|$)/ } keys %samples } keys %types;
	return (\@wrong, \%samples, \%types);
}

$bridge->request('GET', '/flags/none');
$bridge->request('PATCH', '/flags/none', {});
my $answer = $bridge->request('GET', '/metrics');
is($answer->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'metrics are text');
my ($wrong, $first, $types) = parse_metrics($answer->{content});
is_deeply($wrong, [], q{... in Prometheus' format});
cmp_ok(scalar keys %$types, '>=', 30, '... of many things');
is($first->{'ff_bridge_requests_total{route="GET /flags/*",status="4xx"}'}, 1, '... requests by route and status');
is($first->{ff_bridge_streams}, 1, '... streams');
$node->safe_psql('postgres', q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES ('exp', 'boolean', 'false', '[{"variant": "on", "weight": 100}]', '{"active": true}')});
$stream->wait_for(2);
my (undef, $second) = parse_metrics($bridge->request('GET', '/metrics')->{content});
is($second->{ff_bridge_events_total} - $first->{ff_bridge_events_total}, 1, '... events');
is($second->{ff_bridge_broadcast_lag_seconds_count} - $first->{ff_bridge_broadcast_lag_seconds_count}, 1, '... and how long they took');
is_deeply([ grep { my ($base) = /^([^{]*?)(?:_bucket|_sum|_count)?(?:\{|$)/; ($types->{$base} // $types->{ (split /\{/)[0] }) =~ /counter|histogram/ && $second->{$_} < $first->{$_} } keys %$first ], [], '... no counter goes back');
$stream->close;
is($bridge->stop, 0, 'SIGTERM');

# ---------- forwarding ----------

# A receiver, in a process of its own: it writes each request down, and fails at some, one way or another.
my $secret = 'a secret';
my $received = "$directory/received";
my $listening = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 10, ReuseAddr => 1) or die;
my $sink = 'http://127.0.0.1:' . $listening->sockport . '/exposures?from=ff';
my $receiver = fork();
die "fork: $!" unless defined $receiver;
if ($receiver == 0)
{
	receive();
	require POSIX;
	POSIX::_exit(0);
}

sub receive
{
	my @fates = qw(200 500 204 503 broken 200 302 404 200);
	for (my $number = 0; my $client = $listening->accept; $number++)
	{
		my ($head, $fate) = ('', $fates[ $number % @fates ]);
		while ($head !~ /\r\n\r\n/) { $client->sysread($head, 65536, length $head) or last; }
		($head, my $content) = split /\r\n\r\n/, $head, 2;
		my ($length) = $head =~ /^Content-Length: (\d+)/mi;
		while (defined $length && length $content < $length) { $client->sysread($content, 65536, length $content) or last; }
		open(my $file, '>>', $received) or die;
		print $file $json->encode({ head => $head, content => $content, fate => $fate }), "\n";
		close($file);
		my $more = $fate == 503 ? "Retry-After: 1\r\n" : $fate == 302 ? "Location: http://127.0.0.1:1/\r\n" : '';
		{ no warnings; $client->syswrite("HTTP/1.1 $fate x\r\n${more}Content-Length: 0\r\nConnection: close\r\n\r\n") if $fate ne 'broken'; }
		$client->close;
	}
	return;
}

sub received { return -e $received ? map { $json->decode($_) } split /\n/, slurp_file($received) : () }
sub rows { return map { @{ $json->decode($_->{content})->{exposures} } } @_ }
sub is_taken { return $_[0]{fate} =~ /^2/ }

my $batches = 0;
sub record
{
	my ($from, $to) = @_;
	$batches++;
	$node->safe_psql('postgres', qq{SELECT ff_record_exposures('b$batches', (SELECT jsonb_agg(jsonb_build_object('flag_key', 'exp', 'variant_key', 'on', 'user_id', 'ü' || i, 'reason', 'ROLLOUT')) FROM generate_series($from, $to) i))});
	return;
}

sub newest { return $node->safe_psql('postgres', 'SELECT max(id) FROM ff.exposures') }
sub cursor { return $node->safe_psql('postgres', q{SELECT last_id FROM ff_exposure_cursor('sse-bridge')}) }
sub all_forwarded { return Bridge::wait_until(sub { cursor() == newest() }) }

my @forward = ('--exposure-sink-url', $sink, '--exposure-sink-secret-file', file('secret', "$secret\nand more\n"), '--exposure-interval', '1s');
record(1, 250);
$bridge = Bridge->new($node, options => \@forward);
ok(all_forwarded(), 'the cursor comes to the end, though the receiver fails at times');
my %rows = map { $_->{id} => $_ } rows(grep { is_taken($_) } received());
is_deeply([ map { $rows{$_} } sort { $a <=> $b } keys %rows ], $json->decode($node->safe_psql('postgres', 'SELECT json_agg(e ORDER BY id) FROM ff_exposures_after(0, 1000) e')), 'each row has arrived, as it is');
my @requests = received();
cmp_ok(scalar(grep { !is_taken($_) } @requests), '>=', 1, '... some were sent again');
is_deeply([ map { scalar rows($_) } grep { is_taken($_) } @requests ], [ 100, 100, 50 ], '... 100 at once');
my @signatures = map { [ $_->{head} =~ /^FF-Signature: t=(\d+),v1=([0-9a-f]{64})\r?$/m, $_->{content} ] } @requests;
is(scalar(grep { hmac_sha256_hex("$_->[0].$_->[2]", $secret) ne ($_->[1] // '') } @signatures), 0, '... all signed');
cmp_ok(abs($signatures[-1][0] - time), '<', 300, '... with the time');
is(scalar(grep { $_->{head} !~ m{^POST /exposures\?from=ff HTTP/1\.1\r\n} || $_->{head} !~ m{^Content-Type: application/json\r?$}m || $_->{head} !~ m{^User-Agent: sse-bridge/}m } @requests), 0, '... to where they go, as JSON');
is_deeply([ map { /^FF-Batch: (\d+-\d+)\r?$/m } map { $_->{head} } @requests ], [ map { my @all = rows($_); "$all[0]{id}-$all[-1]{id}" } @requests ], '... and named by their numbers');
my ($failed) = grep { !is_taken($_) } @requests;
is(scalar(grep { $_->{content} eq $failed->{content} } @requests) > 1, 1, '... and what failed is sent again as it was');
($wrong, my $samples) = parse_metrics($bridge->request('GET', '/metrics')->{content});
is_deeply([ @$wrong, @$samples{qw(ff_bridge_forwarded_total ff_bridge_forward_lag)} ], [ 250, 0 ], '... and the metrics say so');
is($samples->{ff_bridge_forward_failures_total}, scalar(grep { !is_taken($_) } @requests), '... and of what failed');

my $before = newest();
my $count = @requests;
is($bridge->stop, 0, 'a bridge ends');
record(251, 300);
$bridge->start;
ok(all_forwarded(), 'another goes on');
is((sort { $a <=> $b } map { $_->{id} } rows((received())[ $count .. $#{ [ received() ] } ]))[0], $before + 1, '... where that one was');
for my $round (1 .. 3)
{
	record(1000 * $round, 1000 * $round + 149);
	Bridge::wait_until(sub { scalar(grep { is_taken($_) } received()) > 3 + $round }) if $round > 1;
	$bridge->restart('KILL');
}
ok(all_forwarded(), 'bridges that are killed');
%rows = map { $_->{id} => 1 } rows(grep { is_taken($_) } received());
is(scalar keys %rows, $node->safe_psql('postgres', 'SELECT count(*) FROM ff.exposures'), '... lose nothing');

# exposures of the bridge's own go the same way
$bridge->request('POST', '/evaluate/exp', { context => { user_id => 'evaluated' } });
ok(Bridge::wait_until(sub { grep { ($_->{user_id} // '') eq 'evaluated' } rows(grep { is_taken($_) } received()) }), 'who is evaluated by the bridge is written down, and forwarded');
$bridge->stop;

kill 'TERM', $receiver;
waitpid $receiver, 0;
($code, $out, $err) = run_bridge({}, '--database', $database, '--listen', '127.0.0.1:0', '--exposure-sink-url', $sink, '--exposure-sink-secret-file', "$directory/nowhere");
is($code, 1, 'without its secret there is no forwarding');
like($err, qr/the secret that signs exposures can't be read.*nowhere/, '... says why');

done_testing();
