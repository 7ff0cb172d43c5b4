# test/bridge/http_hostile.pl
#	  The HTTP layer over real sockets: clients that are slow, greedy, deaf or up to something.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time sleep);

use HttpEcho qw(get over $GET $POST $SLACK);

# ---------- time ----------

over 'slow loris', {}, sub
{
	my ($echo) = @_;
	my $drip = sub
	{
		my ($head, $drop) = @_;
		my $client = $echo->connect;
		my $begin = time;
		$client->send($head);
		while (!$client->{eof} && $client->{buffer} eq '' && time < $begin + 5)
		{
			$client->send($drop);
			$client->more(0.03);
		}
		return ($client->response, time - $begin, $client->closed(3));
	};
	my ($r, $time, $closed) = $drip->('G', "X");
	is($r->{status}, 408, 'a request line');
	cmp_ok($time, '<', 2, 'in time');
	ok($closed, 'closed');
	($r, $time, $closed) = $drip->($GET, "A: b\r\n");
	is($r->{status}, 408, 'headers');
	($r, $time, $closed) = $drip->("${POST}Content-Length: 5000\r\n\r\n", 'x');
	is($r->{status}, 408, 'a body');
	cmp_ok($time, '<', 2.5, 'in time');
	($r) = $drip->("${POST}Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n");
	is($r->{status}, 408, 'chunks');
	is($r->{headers}{'content-type'}, 'application/problem+json', 'said as a problem');

	my $client = $echo->connect;
	is($client->rest(3), '', 'who never says a word is told none');
	ok($client->{eof}, 'and closed');
	$client = $echo->connect;
	$client->send("$GET\r\n");
	$client->response;
	is($client->rest(3), '', 'nor who has no more requests');
	ok($client->{eof}, 'closed');
};

over 'a client that never reads an answer', {}, sub
{
	my ($echo) = @_;
	for my $how ('', '&copied')
	{
		my $client = $echo->connect;
		my $begin = time;
		$client->send(get("/big?bytes=20000000$how"));
		ok($echo->wait_for('timeout', $how eq '' ? 1 : 2), "closed$how");
		cmp_ok(time - $begin, '<', 3, 'in time');
		ok($client->closed && $client->{reset}, 'by a reset: the kernel keeps nothing for it');
	}
	my $client = $echo->connect;
	$client->send(get('/big?bytes=16000000', 'Connection: close'));
	my $slow = 0;
	while (length($client->{buffer}) < 16_000_000 && $client->more(1))
	{
		sleep 0.01;
	}
	cmp_ok(length $client->{buffer}, '>', 16_000_000, 'one that is slow gets it all');
	is($echo->counters->{timeout}, 2, 'for it makes progress');
};

over 'a client that sends and never reads', { write_timeout => 1000 }, sub
{
	my ($echo) = @_;
	$echo->ask("${GET}Connection: close\r\n\r\n");
	my $before = $echo->memory;
	my @clients = map { $echo->connect } 1 .. 10;
	for my $client (@clients)
	{
		$client->{socket}->blocking(0);
		my $pipeline = get('/big?bytes=20000') x 2000;
		my $end = time + 0.05;
		while (time < $end)
		{
			syswrite $client->{socket}, $pipeline;
		}
	}
	cmp_ok($echo->memory - $before, '<', $SLACK + 2_000_000, 'takes no memory but an answer and a buffer');
	ok($echo->wait_for('timeout', 10), 'and is closed in time');
};

# ---------- sizes ----------

over 'giant headers', {}, sub
{
	my ($echo) = @_;
	my %cases = (
		'a long target' => [ 414, 'GET /' . 'a' x 100_000 ],
		'a long method' => [ 414, 'A' x 100_000 ],
		'a long header' => [ 431, $GET . 'A: ' . 'a' x 100_000 ],
		'a long name' => [ 431, $GET . 'a' x 100_000 ],
		'many headers' => [ 431, $GET . "A: b\r\n" x 200 ],
		'a great many headers' => [ 431, $GET . "Abcdefghij: b\r\n" x 100_000 ],
		'long trailers' => [ 431, "${POST}Transfer-Encoding: chunked\r\n\r\n0\r\nA: " . 'b' x 9000 ],
	);
	for my $name (sort keys %cases)
	{
		my ($status, $request) = @{ $cases{$name} };
		my $client = $echo->connect;
		$client->send($request);
		is($client->response->{status}, $status, $name);
		ok($client->closed, 'closed');
	}
};

over 'giant and truncated bodies', {}, sub
{
	my ($echo) = @_;
	my $client = $echo->connect;
	$client->send("${POST}Content-Length: 65536\r\n\r\n" . 'x' x 65536);
	is(length $client->response->{body}, 65536, 'as large as may be');
	$client->send("${POST}Content-Length: 65537\r\n\r\n" . 'x' x 65537);
	is($client->response->{status}, 413, 'a byte more, although it was sent');
	$client = $echo->connect;
	$client->send("${POST}Content-Length: 65537\r\n\r\n");
	sleep 0.1;
	ok($client->send('x' x 1000) && sleep(0.02) && $client->send('x' x 1000),
		'after the answer the rest may still be sent');
	is($client->response->{status}, 413, 'and the answer read');
	$client->half_close;
	ok($client->closed && !$client->{reset}, 'and the end is an orderly one');
	$client = $echo->connect;
	$client->send("${POST}Transfer-Encoding: chunked\r\n\r\n" . "1000\r\n" . 'x' x 4096 . "\r\n"
		. "ffffffff\r\n" . 'x' x 100_000);
	is($client->response->{status}, 413, 'a chunk');
	ok($client->closed, 'closed');
	$client = $echo->connect;
	$client->send("${POST}Content-Length: 99999999999999999999\r\n\r\n");
	is($client->response->{status}, 413, 'a number that is none');

	my $before = $echo->counters->{client};
	for my $request ("${POST}Content-Length: 10\r\n\r\nhello",
		"${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhel", $GET, 'G')
	{
		$client = $echo->connect;
		$client->send($request);
		$client->half_close;
		is($client->rest(1), '', 'half a request isn\'t answered');
	}
	ok($echo->wait_for('client', $before + 4), 'all four have gone');
};

# ---------- hostile requests ----------

over 'smuggling', {}, sub
{
	my ($echo) = @_;
	my $inner = "GET /show HTTP/1.1\r\nHost: inner\r\n\r\n";
	my $length = length $inner;
	my @cases = (
		"${POST}Content-Length: $length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\nContent-Length: $length\r\n\r\n0\r\n\r\n$inner",
		"${POST}Content-Length: 0\r\nContent-Length: $length\r\n\r\n$inner",
		"${POST}Content-Length: $length\r\nContent-Length: $length\r\n\r\n$inner",
		"${POST}Content-Length: 0, $length\r\n\r\n$inner",
		"${POST}Content-Length: +0\r\n\r\n$inner",
		"${POST}Content-Length : 0\r\n\r\n$inner",
		"${POST}Content-Length:\x0B0\r\n\r\n$inner",
		"${POST}Content-Length: 0\r\n Content-Length: 5\r\n\r\n$inner",
		"${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding: identity\r\n\r\n$inner",
		"${POST}Transfer-Encoding:\x0Bchunked\r\n\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n$inner",
		"${POST}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner",
		"${POST}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\n\r\n0;x=\"\r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\n\r\n0\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\n\r\n1\r\nAB\r\n0\r\n\r\n$inner",
		"${POST}Transfer-Encoding: chunked\r\n\r\n0\r\n$inner",
		"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner",
		"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n$inner",
		"GET /x HTTP/1.1 HTTP/1.0\r\nHost: h\r\n\r\n$inner",
		"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n$inner",
		"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n$inner",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n$inner",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03$inner",
	);
	for my $i (0 .. $#cases)
	{
		my $client = $echo->connect;
		$client->send($cases[$i]);
		my $r = $client->response;
		like($r->{status}, qr/^(400|501|505)$/, "case $i is refused");
		is($client->rest(2), '', 'and what is in it not answered');
		ok($client->{eof}, 'closed');
	}
	is($echo->counters->{bad}, scalar @cases, 'counted');
};

over 'paths', {}, sub
{
	my ($echo) = @_;
	my %cases = (
		'/../../etc/passwd' => 404, '/%2e%2e/%2e%2e' => 404, '//' => 404, '/./' => 404,
		'/a;b=c' => 404, '/\\' => 404, '/%5c' => 404, '/%2f' => 404, '/?' => 200, '/?a=%' => 200,
		'/%c3%a4' => 404, '/%' => 400, '/%0' => 400, '/%g0' => 400, '/%00' => 400, '/%ff' => 400,
		'/%c0%ae%c0%ae' => 400, '/%ed%a0%80' => 400, '/%f5%80%80%80' => 400, "/\xC3\xA4" => 400,
		"/\xFF" => 400, '/a#b' => 400, 'a' => 400, '' => 400, '*' => 400, '\\' => 400,
		'http:/' => 400, 'http://' => 400, 'http://h' => 200, 'http://h@i/' => 400,
		'http://[::1]:80/' => 200, 'ftp://h/' => 400, 'javascript:alert(1)' => 400, "/\x7F" => 400,
		'/<script>' => 404,
	);
	for my $path (sort keys %cases)
	{
		my $client = $echo->connect;
		$client->send(get($path));
		my $r = $client->response;
		is($r->{status}, $cases{$path}, "<$path>");
		unlike($r->{text} . $r->{body}, qr/script|etc/, 'nothing of it comes back');
		$client->close;
	}
};

over 'noise', {}, sub
{
	my ($echo) = @_;
	srand 42;
	my $seed = "${POST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
	my ($answers, $rounds) = (0, 200);
	for (1 .. $rounds)
	{
		my $request = $seed;
		for (0 .. rand 4)
		{
			substr $request, rand length $request, rand 3, chr rand 256;
		}
		my $client = $echo->connect;
		$client->send($request);
		$client->half_close;
		$answers += $client->rest(2) =~ /\A(HTTP|\z)/;
	}
	is($answers, $rounds, 'each is answered or closed');
	is($echo->ask("${GET}Connection: close\r\n\r\n") =~ /200 OK/, 1, 'and the server lives');
};

over 'chaos', { max_connections => 60 }, sub
{
	my ($echo) = @_;
	srand 7;
	my @parts = ("$GET\r\n", get('/late'), get('/later'), get('/stream'), get('/flood'), get('/bye'),
		get('/big?bytes=3000000'), get('/big?bytes=3000000&copied'), "NONSENSE\r\n",
		"${POST}Content-Length: 5\r\n\r\nhello", "${POST}Expect: 100-continue\r\n",
		"${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n", 'x' x 3000);
	my @clients;
	my $end = time + 2;
	while (time < $end)
	{
		push @clients, $echo->connect if @clients < 80;
		my $client = $clients[ rand @clients ];
		my $what = rand 10;
		$client->{socket}->blocking(0);
		my $part = $parts[ rand @parts ];
		substr $part, rand length $part if $what < 1;
		syswrite $client->{socket}, $part if $what < 6;
		sysread $client->{socket}, my $buffer, 65536 if $what >= 6 && $what < 8.5;
		$client->half_close if $what >= 8.5 && $what < 9;
		next if $what < 9;
		setsockopt $client->{socket}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0
			if $what < 9.5;
		$client->close;
		@clients = grep { $_ != $client } @clients;
	}
	$_->close for @clients;
	ok($echo->wait_for('connections', 0), 'nothing is left');
	is($echo->counters->{streams}, 0, 'no stream either');
	is($echo->ask("${GET}Connection: close\r\n\r\n") =~ /200 OK/, 1, 'and the server lives');
};

done_testing();
