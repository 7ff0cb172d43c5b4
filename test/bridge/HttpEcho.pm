# test/bridge/HttpEcho.pm: http_echo in the background, and a client that sends what it is told.

package HttpEcho;

use strict;
use warnings;

use Exporter qw(import);
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(get over $GET $POST $SLACK);

our $GET = "GET / HTTP/1.1\r\nHost: h\r\n";
our $POST = "POST / HTTP/1.1\r\nHost: h\r\n";

# A sanitizer doesn't give memory back at once.
our $SLACK = ($ENV{HTTP_ECHO} // '') =~ /sanitize/ ? 100_000_000 : 0;

# A request for a path, with headers.
sub get
{
	my ($path, @headers) = @_;
	return join "\r\n", "GET $path HTTP/1.1", 'Host: h', @headers, '', '';
}

# Runs one test over a server of its own, which must end well, with nothing left over.
sub over
{
	my ($name, $settings, $test) = @_;
	subtest $name => sub
	{
		my $echo = HttpEcho->start(%$settings);
		$test->($echo);
		my ($status, $counters) = $echo->stop;
		is($status, 0, 'the server ends well');
		my $closed = 0;
		$closed += $counters->{$_} // 0 for qw(client done timeout error limit server);
		is($closed + ($counters->{connections} // 0), $counters->{accepted},
			'each connection was counted once');
	};
	return;
}

# A server that closes first is the point of many tests.
$SIG{PIPE} = 'IGNORE';

# HttpEcho->start(name => value, ...): settings are members of http_limits.
sub start
{
	my ($class, %settings) = @_;
	my $program = $ENV{HTTP_ECHO} or die "HTTP_ECHO must name the program http_echo\n";
	my $pid = open(my $out, '-|', $program, map { "$_=$settings{$_}" } sort keys %settings)
		or die "$program: $!\n";
	chomp(my $port = <$out> // die "$program said nothing\n");
	return bless { pid => $pid, out => $out, port => $port }, $class;
}

# The counters, now: SIGUSR1 has them printed.
sub counters
{
	my ($self) = @_;
	kill 'USR1', $self->{pid};
	my $line = readline $self->{out};
	return { $line =~ /(\w+)=(\d+)/g };
}

# Waits until a counter has a value.
sub wait_for
{
	my ($self, $name, $value) = @_;
	my $end = time + 10;
	while (time < $end)
	{
		return 1 if $self->counters->{$name} == $value;
		sleep 0.02;
	}
	return 0;
}

# Bytes of the program's memory.
sub memory
{
	my ($self) = @_;
	open my $status, '<', "/proc/$self->{pid}/status" or die "$!\n";
	my ($kb) = map { /^VmRSS:\s+(\d+)/ ? $1 : () } <$status>;
	return $kb * 1024;
}

sub terminate
{
	my ($self) = @_;
	kill 'TERM', $self->{pid};
	return;
}

# Ends it; returns its exit status and the counters it printed at last.
sub stop
{
	my ($self) = @_;
	$self->terminate;
	return $self->finish;
}

sub finish
{
	my ($self) = @_;
	my $last = '';
	while (my $line = readline $self->{out})
	{
		$last = $line;
	}
	close $self->{out};
	$self->{pid} = 0;
	return ($?, { $last =~ /(\w+)=(\d+)/g });
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	kill 'KILL', $self->{pid} if $self->{pid};
	return;
}

sub connect
{
	my ($self) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port})
		or return;
	return HttpEcho::Client->new($socket, $self->{port});
}

# Sends one thing, and returns all that comes back until the server closes or $timeout is over.
sub ask
{
	my ($self, $request, $timeout) = @_;
	my $client = $self->connect;
	$client->send($request);
	return $client->rest($timeout);
}

package HttpEcho::Client;

use Time::HiRes qw(time sleep);

sub new
{
	my ($class, $socket, $port) = @_;
	return bless { socket => $socket, buffer => '', eof => 0, port => $port }, $class;
}

# Sends it all, {{HOST}} replaced; false where the server doesn't take it any more.
sub send
{
	my ($self, $text) = @_;
	$text =~ s/\{\{HOST\}\}/127.0.0.1:$self->{port}/g;
	while (length $text)
	{
		my $sent = syswrite $self->{socket}, $text;
		return 0 if !defined $sent;
		substr $text, 0, $sent, '';
	}
	return 1;
}

# Reads once; false at the end, or when $timeout seconds are over.
sub more
{
	my ($self, $timeout) = @_;
	return 0 if $self->{eof} || !IO::Select->new($self->{socket})->can_read($timeout);
	my $n = sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer};
	$self->{eof} = 1 if !$n;
	$self->{reset} = 1 if !defined $n;
	return $n ? 1 : 0;
}

# The next response: {status, headers, body, text}; undef without one.
sub response
{
	my ($self, $head_request) = @_;
	my $end = time + 5;
	while ($self->{buffer} !~ /\r\n\r\n/)
	{
		return if !$self->more($end - time > 0 ? $end - time : 0);
	}
	$self->{buffer} =~ s/\A(.*?\r\n)\r\n//s;
	my %response = (text => $1, headers => {}, body => '');
	($response{status}) = $response{text} =~ m{\AHTTP/1\.1 (\d\d\d) };
	while ($response{text} =~ /^([^:\r\n]+): (.*)\r$/mg)
	{
		die "twice: $1\n" if exists $response{headers}{ lc $1 };
		$response{headers}{ lc $1 } = $2;
	}
	my $length = $response{headers}{'content-length'} // 0;
	return \%response if $head_request;
	while (length $self->{buffer} < $length)
	{
		last if !$self->more(5);
	}
	$response{body} = substr $self->{buffer}, 0, $length, '';
	return \%response;
}

# Everything until the end, or until nothing has come for $timeout seconds.
sub rest
{
	my ($self, $timeout) = @_;
	1 while $self->more($timeout // 5);
	my $rest = $self->{buffer};
	$self->{buffer} = '';
	return $rest;
}

# Whether the server has closed, within $timeout seconds; what it sends is thrown away.
sub closed
{
	my ($self, $timeout) = @_;
	my $end = time + ($timeout // 5);
	while (!$self->{eof} && time < $end)
	{
		$self->more(0.05);
	}
	return $self->{eof};
}

# Ends our side, and still reads.
sub half_close
{
	my ($self) = @_;
	shutdown $self->{socket}, 1;
	return;
}

sub close
{
	my ($self) = @_;
	close $self->{socket};
	return;
}

1;
