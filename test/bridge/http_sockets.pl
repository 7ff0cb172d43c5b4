# test/bridge/http_sockets.pl
#	  The HTTP layer over real sockets: what is promised to clients that behave, and to the owner.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time sleep);

use HttpEcho qw(get over $GET $POST $SLACK);

# ---------- connections ----------

over 'keep-alive', {}, sub
{
	my ($echo) = @_;
	my $client = $echo->connect;
	for my $i (1 .. 3)
	{
		$client->send("$GET\r\n");
		my $r = $client->response;
		is($r->{status}, 200, "request $i");
		is($r->{body}, "hello\n", 'its body');
		is($r->{headers}{'x-content-type-options'}, 'nosniff', 'nosniff');
		ok($r->{headers}{date}, 'a date');
		ok(!exists $r->{headers}{connection}, 'HTTP/1.1 needs no word for it');
	}
	$client->send($GET . "Connection: close\r\n\r\n");
	is($client->response->{headers}{connection}, 'close', 'the last one');
	ok($client->closed, 'is the last one');

	$client = $echo->connect;
	for (1 .. 2)
	{
		$client->send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
		is($client->response->{headers}{connection}, 'keep-alive', 'HTTP/1.0 is told so');
	}
	$client->send("GET / HTTP/1.0\r\n\r\n");
	is($client->response->{headers}{connection}, 'close', 'and closes without');
	ok($client->closed, 'closed');
};

over 'what a handler sees', {}, sub
{
	my ($echo) = @_;
	my $ask = sub
	{
		my $client = $echo->connect;
		$client->send($_[0]);
		my $r = $client->response;
		return $r->{body} =~ /^\Q$_[1]\E$/m ? 1 : diag($r->{body}) && 0;
	};
	ok($ask->(get('/show/a%2Fb'), 'path /show/a%2Fb'), 'a raw path');
	ok($ask->(get('/show?q=%C3%A4+b%26'), "q \xC3\xA4 b&"), 'a decoded parameter');
	ok($ask->(get('/show?a=1&%71=2&&=&b'), 'q 2'), 'an escaped name');
	ok($ask->(get('/show?q'), 'q '), 'a name alone');
	ok($ask->(get('/show?q='), 'q '), 'an empty value');
	ok($ask->(get('/show?qq=1'), 'q (none)'), 'another name');
	ok($ask->(get('/show?q=1&q=1'), 'q (none) bad'), 'twice');
	ok($ask->(get('/show?q=%ff'), 'q (none) bad'), 'not UTF-8');
	ok($ask->(get('/show?q=%00'), 'q (none) bad'), 'a NUL');
	ok($ask->(get('/show?q=%4'), 'q (none) bad'), 'half an escape');
	ok($ask->(get('/show?q=1&q=%ff'), 'q (none) bad'), 'good and bad');
	ok($ask->(get('/show?%ff=1&q=2'), 'q 2'), "another's name is bad");
	ok($ask->(get('/show', 'X-Test: 1', 'x-test: 2'), 'x-test 1, 2'), 'joined headers');
	ok($ask->(get('http://other:8/show?q=x'), 'host other:8'), 'the host of an absolute target');
	ok($ask->(get('/show'), 'peer 127.0.0.1'), 'the peer');
	my $client = $echo->connect;
	$client->send(get('/show'));
	my $r = $client->response;
	is($r->{headers}{'x-kept'}, '7', 'a header is added');
	unlike($r->{text}, qr/x-injected/i, 'none is smuggled in');
};

over 'HEAD, OPTIONS, 100-continue', {}, sub
{
	my ($echo) = @_;
	my $client = $echo->connect;
	$client->send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n$GET\r\nHEAD /big?bytes=5000000 HTTP/1.1\r\n"
		. "Host: h\r\n\r\n$GET\r\n");
	my $r = $client->response(1);
	is($r->{headers}{'content-length'}, 6, 'HEAD tells the length');
	is($client->response->{body}, "hello\n", 'and sends nothing of it');
	is($client->response(1)->{headers}{'content-length'}, 5000000, 'of an owned body too');
	is($client->response->{body}, "hello\n", 'and sends nothing of that');
	$client->send("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n");
	$r = $client->response;
	is($r->{status}, 204, 'OPTIONS');
	ok(!exists $r->{headers}{'content-length'}, '204 has no length');
	$client->send("${POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	is($client->response->{status}, 100, '100 before the body');
	$client->send('hello');
	is($client->response->{body}, 'hello', 'and the answer after it');
	$client->send("${POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
	is($client->response->{status}, 200, 'no 100 where the body came along');
	$client->send("${POST}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
	is($client->response->{status}, 100, '100 before chunks');
	$client->send("5\r\nhello\r\n0\r\n\r\n");
	is($client->response->{body}, 'hello', 'chunks');
	$client->send("HEAD / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n");
	is($client->response(1)->{status}, 417, 'another expectation');
	is($client->rest(1), '', 'HEAD is refused without a body');
};

over 'pipelining', {}, sub
{
	my ($echo) = @_;
	my @requests = map { ($_ % 5 == 4 ? get('/late') : "${POST}Content-Length: 4\r\n\r\n"
		. sprintf '%04d', $_) } 0 .. 24;
	my @expected = map { $_ % 5 == 4 ? "late\n" : sprintf '%04d', $_ } 0 .. 24;
	my $client = $echo->connect;
	$client->send(join '', @requests);
	is_deeply([ map { $client->response->{body} } @requests ], \@expected, 'in order');

	$client = $echo->connect;
	for my $byte (split //, join '', @requests[ 0 .. 4 ])
	{
		$client->send($byte);
	}
	is_deeply([ map { $client->response->{body} } 0 .. 4 ], [ @expected[ 0 .. 4 ] ], 'byte by byte');

	$client = $echo->connect;
	$client->send("${GET}\r\n" x 3 . "${GET}Connection: close\r\n\r\n" . "${GET}\r\n" x 3);
	is(() = $client->rest(2) =~ /^HTTP/mg, 4, 'nothing is answered after the last request');
	ok($client->closed, 'and it is closed');

	$client = $echo->connect;
	$client->send("${GET}\r\n" . "BAD\r\n" . "${GET}\r\n");
	is($client->response->{status}, 200, 'good');
	is($client->response->{status}, 400, 'bad');
	is($client->rest(1), '', 'and no more');
};

# ---------- who has gone ----------

over 'abandoned requests', {}, sub
{
	my ($echo) = @_;
	my $client = $echo->connect;
	$client->send(get('/late'));
	sleep 0.03;
	$client->close;
	ok($echo->wait_for('abandoned', 1), 'the handler can tell');

	$client = $echo->connect;
	$client->send(get('/late'));
	$client->half_close;
	is($client->response->{body}, "late\n", 'who still reads gets his answer');
	ok($client->closed, 'and is closed');

	$client = $echo->connect;
	$client->send(get('/late'));
	sleep 0.03;
	setsockopt $client->{socket}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0;
	$client->close;
	ok($echo->wait_for('abandoned', 3), 'a reset');
	ok($echo->wait_for('connections', 0), 'none is left');

	$client = $echo->connect;
	$client->send(get('/late') . "$GET\r\n" x 3);
	$client->close;
	ok($echo->wait_for('connections', 0), 'nor one with a pipeline');

	$client = $echo->connect;
	$client->send(get('/big?bytes=20000000'));
	sleep 0.05;
	$client->close;
	ok($echo->wait_for('connections', 0), 'nor one that was being answered');
};

# ---------- limits ----------

over 'max_connections', { max_connections => 3, idle_timeout => 5000, header_timeout => 5000 }, sub
{
	my ($echo) = @_;
	my @clients = map { $echo->connect } 1 .. 3;
	$_->send("$GET\r\n"), $_->response for @clients;
	for my $first ('', "$GET\r\n", "${POST}Content-Length: 60000\r\n\r\n" . 'x' x 60000)
	{
		my $client = $echo->connect;
		$client->send($first);
		my $r = $client->response;
		is($r->{status}, 503, 'the fourth');
		ok($r->{headers}{'retry-after'}, 'may come back');
		is($r->{headers}{connection}, 'close', 'later');
		ok($client->closed, 'closed');
	}
	$_->send("$GET\r\n") for @clients;
	is_deeply([ map { $_->response->{status} } @clients ], [ 200, 200, 200 ], 'the others go on');
	my $lingering = $echo->connect;
	is($lingering->response->{status}, 503, 'one is turned away, and stays to hear why');
	(shift @clients)->close;
	ok($echo->wait_for('connections', 3), 'one goes');
	is($echo->ask("${GET}Connection: close\r\n\r\n") =~ /200 OK/, 1, 'and one may come');
	is($echo->counters->{refused}, 4, 'counted');
	$lingering->close;
	$_->close for @clients;

	@clients = map { $echo->connect } 1 .. 200;
	is($echo->counters->{connections} <= 3 + 64, 1, 'those refused are bounded, too');
	$_->close for @clients;
};

over 'max_per_address', { max_per_address => 2 }, sub
{
	my ($echo) = @_;
	my @clients = map { $echo->connect } 1 .. 2;
	$_->send("$GET\r\n"), $_->response for @clients;
	my $client = $echo->connect;
	is($client->response->{status}, 503, 'the third');
	my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.2', PeerAddr => '127.0.0.1',
		PeerPort => $echo->{port});
	$other = HttpEcho::Client->new($other, $echo->{port});
	$other->send("$GET\r\n");
	is($other->response->{status}, 200, 'from another address');
	(shift @clients)->close;
	ok($echo->wait_for('client', 1), 'one goes');
	is($echo->ask("${GET}Connection: close\r\n\r\n") =~ /200 OK/, 1, 'and one may come');
};

over 'file descriptors run out', { idle_timeout => 5000, header_timeout => 1000 }, sub
{
	my ($echo) = @_;
	system 'prlimit', '--pid', $echo->{pid}, '--nofile=20:20';
	my @clients = map { $echo->connect } 1 .. 30;
	sleep 0.2;
	$_->send("$GET\r\n") for @clients;
	my $used = (split ' ', do { local (@ARGV, $/) = "/proc/$echo->{pid}/stat"; <> })[13];
	sleep 0.3;
	my $now = (split ' ', do { local (@ARGV, $/) = "/proc/$echo->{pid}/stat"; <> })[13];
	cmp_ok($now - $used, '<', 10, 'it does not spin');
	$_->close for @clients[ 0 .. 19 ];
	is($clients[29]->response->{status}, 200, 'and serves the others when it can');
	$_->close for @clients;
};

# ---------- streams ----------

over 'streams', {}, sub
{
	my ($echo) = @_;
	my $client = $echo->connect;
	$client->send(get('/stream') . "$GET\r\n");
	my $r = $client->response;
	is($r->{status}, 200, 'starts');
	is($r->{headers}{'content-type'}, 'text/event-stream', 'its type');
	is($r->{headers}{connection}, 'close', 'it ends by closing');
	ok(!exists $r->{headers}{'content-length'}, 'it has no length');
	is($client->rest(1.5), ": hello\n\n", 'outlives all limits; what is sent ahead is not answered');
	is($echo->counters->{streams}, 1, 'one stream');
	$client->send('x');
	is($client->rest(0.1), '', 'what is sent after it is not either');
	$client->close;
	ok($echo->wait_for('closed_streams', 1), 'the owner is told when it has gone');
	is($echo->counters->{connections}, 0, 'and it has');

	$client = $echo->connect;
	$client->send(get('/stream'));
	$client->response;
	$client->send('x' x 1_000_000);
	ok($client->closed, 'one that talks without end is closed');
	ok($echo->wait_for('closed_streams', 2), 'and the owner told');

	$client = $echo->connect;
	$client->send("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
	like($client->rest(2), qr/\AHTTP.*text\/event-stream.*\r\n\r\n\z/s, 'HEAD: the headers alone');
	is($echo->counters->{streams}, 0, 'no stream');

	$client = $echo->connect;
	$client->send(get('/bye'));
	like($client->rest(2), qr/: hello\n\n\z/, 'closed by the owner: all was sent');
	ok($client->{eof}, 'closed');

	$client = $echo->connect;
	$client->send(get('/flood'));
	$client->response;
	my $bytes = 0;
	do
	{
		$bytes += length $client->{buffer};
		$client->{buffer} = '';
	} while ($client->more(2));
	is($bytes, 64 * 1024 * 1024 + 9, 'writable is called as long as it is wanted');
	ok($echo->wait_for('connections', 0), 'over');
};

over 'streams that start late', {}, sub
{
	my ($echo) = @_;
	my $client = $echo->connect;
	$client->send(get('/later') . "$GET\r\n");
	is($client->response->{status}, 200, 'one starts');
	is($client->rest(0.1), ": hello\n\n", 'and goes on');
	$client->close;
	ok($echo->wait_for('closed_streams', 1), 'until the client has gone');
	for my $end (qw(close half_close))
	{
		$client = $echo->connect;
		$client->send(get('/later'));
		$client->$end;
		ok($echo->wait_for('abandoned', $end eq 'close' ? 1 : 2), "none: $end");
		ok($echo->wait_for('connections', 0), 'nothing is left');
	}
	is($echo->counters->{closed_streams}, 1, 'and the owner hears of none');
};

over 'stalled streams', {}, sub
{
	my ($echo) = @_;
	$echo->ask("${GET}Connection: close\r\n\r\n");
	my $before = $echo->memory;
	my @clients = map { $echo->connect } 1 .. 50;
	$_->send(get('/flood')) for @clients;
	sleep 1;
	is($echo->counters->{streams}, 50, 'they last');
	cmp_ok($echo->memory - $before, '<', $SLACK + 500_000, 'and take no memory');
	$_->close for @clients;
	ok($echo->wait_for('closed_streams', 50), 'each is reported');
};

# ---------- the end ----------

over 'drain', { idle_timeout => 20000, header_timeout => 20000 }, sub
{
	my ($echo) = @_;
	my ($idle, $fresh, $busy, $half, $stream) = map { $echo->connect } 1 .. 5;
	$stream->send(get('/stream'));
	$stream->response;
	$idle->send("$GET\r\n");
	$idle->response;
	$busy->send(get('/late') . get('/late'));
	$half->send($GET);
	sleep 0.05;
	$echo->terminate;
	ok($idle->closed(1), 'an idle connection is closed');
	ok($fresh->closed(1), 'and one that said nothing');
	my $r = $busy->response;
	is($r->{body}, "late\n", 'a request is answered');
	is($r->{headers}{connection}, 'close', 'as the last one');
	ok($busy->closed(1), 'and closed');
	is($echo->connect, undef, 'nobody is let in');
	$half->send("\r\n");
	$r = $half->response;
	is($r->{status}, 200, 'half a request may become a whole one');
	is($r->{headers}{connection}, 'close', 'the last one');
	is($stream->rest(0.1), ": hello\n\n", 'a stream goes on');
	$_->close for $idle, $fresh, $busy, $half;
	ok($stream->closed, 'until the server goes');
};

done_testing();
