# test/bridge/http11probe.pl
#	  Every request of Http11Probe's compliance suite, and the answer that it expects.
#
# The data are not part of this repository. FF_SUITES names their folder; without it they are looked
# for beside the repository, and where they are not there this test says so and passes.

use strict;
use warnings;

use JSON::PP;
use MIME::Base64;
use Test::More;
use Time::HiRes qw(sleep);

use HttpEcho;

# Cases that can't apply to this server, and why. There are none: it serves all that they ask for.
my %not_applicable = ();

# What is expected where the suite says it in words. Each gets the first response (a hash) or undef,
# whether the server has closed, and the raw text.
my $refused = sub { my ($r, $closed) = @_; return $r ? $r->{status} == 400 : $closed };
my $good = sub { my ($r) = @_; return $r && $r->{status} =~ /^2/ };
my $not_101 = sub { my ($r) = @_; return $r && $r->{status} != 101 };

sub status { my %ok = map { $_ => 1 } @_; return sub { my ($r) = @_; $r && $ok{ $r->{status} } } }
sub echoes { my ($body) = @_; return sub { my ($r) = @_; $good->($r) && $r->{body} eq $body } }
sub has { my ($name) = @_; return sub { my ($r) = @_; $good->($r) && $r->{headers}{$name} } }
sub unfinished
{
	return sub { my ($r, $closed) = @_; return !$r || $r->{status} == 400 || $r->{status} == 408 };
}
sub good_and_closed
{
	return sub { my ($r, $closed) = @_; return $good->($r) && $closed };
}

my %in_words = (
	'RFC9112-2.2-BARE-LF-REQUEST-LINE' => $refused,
	'RFC9112-2.2-BARE-LF-HEADER' => $refused,
	'RFC9112-3-MULTI-SP-REQUEST-LINE' => $refused,
	'RFC9112-2.3-INVALID-VERSION' => status(400, 505),
	'RFC9112-3.2-FRAGMENT-IN-TARGET' => $refused,
	'RFC9112-2.3-HTTP09-REQUEST' => $refused,
	'COMP-UNKNOWN-TE-501' => status(501),
	'COMP-LEADING-CRLF' => $good,
	'COMP-ABSOLUTE-FORM' => $good,
	'COMP-METHOD-CASE' => status(400, 405, 501),
	'COMP-POST-CL-BODY' => echoes('hello'),
	'COMP-POST-CL-UNDERSEND' => unfinished(),
	'COMP-CHUNKED-BODY' => echoes('hello'),
	'COMP-CHUNKED-MULTI' => echoes('hello world'),
	'COMP-CHUNKED-NO-FINAL' => unfinished(),
	'COMP-UPGRADE-POST' => $not_101,
	'COMP-UPGRADE-MISSING-CONN' => $not_101,
	'COMP-UPGRADE-UNKNOWN' => $not_101,
	'COMP-METHOD-CONNECT' => status(400, 405, 501),
	'COMP-EXPECT-UNKNOWN' => status(417),
	'COMP-GET-WITH-CL-BODY' => $good,
	# "2xx preferred; 400 warns": refused on purpose, no client of ours sends them, and parsers
	# that differ over them have let requests be smuggled
	'COMP-CHUNKED-EXTENSION' => status(400),
	'COMP-UPGRADE-INVALID-VER' => $not_101,
	'COMP-METHOD-TRACE' => status(405, 501),
	'COMP-REQUEST-LINE-TAB' => $refused,
	'COMP-CONNECTION-CLOSE' => good_and_closed(),
	'COMP-HTTP10-DEFAULT-CLOSE' => good_and_closed(),
	'COMP-HTTP10-NO-HOST' => status(200, 400),
	'COMP-HTTP12-VERSION' => status(200, 505),
	'COMP-TRACE-WITH-BODY' => status(400, 405),
	'COMP-CHUNKED-TRAILER-VALID' => echoes('hello'),
	'COMP-CHUNKED-HEX-UPPERCASE' => echoes('helloworld'),
	'COMP-RANGE-POST' => echoes('hello'),
	'COMP-UPGRADE-HTTP10' => $not_101,
	'COMP-HEAD-NO-BODY' => sub
	{
		my ($r, $closed, $text) = @_;
		return $good->($r) && $text =~ /\r\n\r\n\z/;
	},
	'COMP-UNKNOWN-METHOD' => status(400, 405, 501),
	'COMP-405-ALLOW' => sub { my ($r) = @_; $r && $r->{status} == 405 && $r->{headers}{allow} },
	'COMP-DATE-HEADER' => has('date'),
	'COMP-DATE-FORMAT' => sub
	{
		my ($r) = @_;
		return $good->($r) && $r->{headers}{date} =~
			/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;
	},
	'COMP-NO-1XX-HTTP10' => echoes('hello'),
	'COMP-NO-CL-IN-204' => sub
	{
		my ($r) = @_;
		return $r && $r->{status} == 204 && !exists $r->{headers}{'content-length'};
	},
	'COMP-OPTIONS-ALLOW' => has('allow'),
	'COMP-CONTENT-TYPE' => has('content-type'),
	'COMP-DUPLICATE-CT' => sub { my ($r) = @_; $good->($r) || $refused->($r) },
	'COMP-TRACE-SENSITIVE' => status(405, 501),
	'COMP-RANGE-INVALID' => status(200, 416),
	'COMP-ACCEPT-NONSENSE' => sub { my ($r) = @_; $good->($r) || $r && $r->{status} == 406 },
	'COMP-POST-UNSUPPORTED-CT' => sub { my ($r) = @_; $good->($r) || $r && $r->{status} == 415 },
);

# What is expected where the suite says it in numbers.
sub in_numbers
{
	my ($expect, $r, $closed) = @_;
	return $expect->{allowClose} && $closed if !$r;
	return $r->{status} =~ /^2/ if $expect->{status} eq 'Range2xx';
	return $r->{status} == $expect->{status};
}

sub cases
{
	my $folder = $ENV{FF_SUITES} // '../../../shared/suites';
	open my $in, '<:raw', "$folder/http11probe/compliance.json" or return;
	local $/ = undef;
	return @{ decode_json(<$in>)->{cases} };
}

my @cases = cases();
if (!@cases)
{
	plan skip_all => 'Http11Probe is not here: shared/suites/http11probe/compliance.json';
}

# All are sent before the first answer is looked at, so that those that wait for more of a request
# wait together. The server has time for the others, and doesn't give up on these meanwhile.
my $echo = HttpEcho->start(header_timeout => 10000, body_timeout => 10000, idle_timeout => 10000);
my (%client, %count);
for my $case (@cases)
{
	next if exists $not_applicable{ $case->{id} };
	$client{ $case->{id} } = $echo->connect;
	$client{ $case->{id} }->send(decode_base64($case->{payload_latin1_base64}));
}
sleep 0.5;

sub passes
{
	my ($case, $client) = @_;
	my $text = $client->rest(0);
	my $closed = $client->{eof};
	$client->{buffer} = $text;
	my $response = length $text ? $client->response($case->{id} eq 'COMP-HEAD-NO-BODY') : undef;
	my $in_words = $in_words{ $case->{id} };
	my $passes = $case->{expect}{customValidator}
		? $in_words && $in_words->($response, $closed, $text)
		: in_numbers($case->{expect}, $response, $closed);
	diag('expected ', encode_json($case->{expect}), ', got ', length $text ? $text : 'nothing')
		if !$passes;
	return $passes;
}

for my $case (@cases)
{
	my $id = $case->{id};
	if (exists $not_applicable{$id})
	{
		note("$id does not apply: $not_applicable{$id}");
		next;
	}
	$count{ran}++;
	$count{passed}++ if ok(passes($case, $client{$id}), $id);
	$client{$id}->close;
}
my ($status) = $echo->stop;
is($status, 0, 'the server ended as it should');
printf "# Http11Probe: %d ran, %d passed, %d do not apply\n", $count{ran}, $count{passed},
	scalar keys %not_applicable;
done_testing();
