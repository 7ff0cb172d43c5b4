# bench/bridge_clients.pl: what bench/bridge.sh needs beside the load client.
#
#     post ADDRESS RATE COUNT FILE   posts an event, whose data is in FILE, to /pub: so many a second, so
#                                    many times, numbered from 1 on, each with the time in its data
#     probe PATH SECONDS A B         asks for a path at two addresses in turn, some 50 times a second each, over
#                                    connections that are kept; prints both medians in microseconds

use strict;
use warnings;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time sleep);

sub connect_to
{
	my ($address) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => $address, Proto => 'tcp') or die "$address: $!";
	setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
	return $socket;
}

# A request, and its whole answer.
sub ask
{
	my ($socket, $request) = @_;
	my $answer = '';
	syswrite($socket, $request) == length $request or die "write: $!";
	until ($answer =~ /\r\n\r\n/ && length($answer) >= $+[0] + ($answer =~ /^Content-Length: (\d+)/mi ? $1 : 0))
	{
		sysread($socket, $answer, 65536, length $answer) or die "the connection is gone: $!";
	}
	$answer =~ m{\AHTTP/1.1 2} or die $answer;
	return;
}

sub wait_until { my ($time) = @_; my $left = $time - time; sleep $left if $left > 0; return; }

sub post
{
	my ($address, $rate, $count, $file) = @_;
	open(my $in, '<', $file) or die "$file: $!";
	my $data = do { local $/; <$in> };
	my $socket = connect_to($address);
	my $start = time;
	for my $i (1 .. $count)
	{
		wait_until($start + $i / $rate);
		my $body = $data;
		$body =~ s/"event_id":\d+/"event_id":$i/;
		$body =~ s{t=\d+}{sprintf 't=%d', time * 1e6}e;
		ask($socket, "POST /pub HTTP/1.1\r\nHost: localhost\r\nX-EventSource-Event: flag_updated\r\nContent-Length: "
			. length($body) . "\r\n\r\n$body");
	}
	return;
}

sub probe
{
	my ($path, $seconds, @addresses) = @_;
	my @sockets = map { connect_to($_) } @addresses;
	my @times = map { [] } @addresses;
	my $request = "GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n";
	my $start = time;
	for my $i (1 .. $seconds * 50)
	{
		# at random, so as not to keep step with the events
		wait_until($start + ($i + rand) / 50);
		for my $which ($i % 2 ? (0, 1) : (1, 0))
		{
			my $begin = time;
			ask($sockets[$which], $request);
			push @{ $times[$which] }, time - $begin;
		}
	}
	printf "%s\n", join ' ', map { my @sorted = sort { $a <=> $b } @$_; sprintf '%d', $sorted[ @sorted / 2 ] * 1e6 } @times;
	return;
}

my ($what, @arguments) = @ARGV;
my %commands = (post => \&post, probe => \&probe);
($commands{ $what // '' } // die "usage: see the source\n")->(@arguments);
