# The HTTP API of sse-bridge: every answer is as /openapi.json has it, and says what SQL says.

use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::RealBin;
use Bridge;
use Encode qw(encode_utf8 decode_utf8);
use Ff;
use IO::Socket::INET;
use JSON::PP;
use OpenApi;
use PostgreSQL::Test::Utils;
use Test::More;

my $json = JSON::PP->new->utf8->allow_nonref->canonical;
my $node = Ff::cluster('api', 'ff.exposure_sink = table');
my $sql = Ff::session($node);
my $bridge = Bridge->new($node, options => [ '--exposure-interval', '1s' ]);
my $api = OpenApi->new($bridge->request('GET', '/openapi.json')->{json});

sub ask { my ($statement, @values) = @_; return $sql->selectrow_array($statement, undef, @values); }
sub decoded { my ($text) = @_; return defined $text ? $json->decode(encode_utf8($text)) : undef; }
sub ask_json { return decoded(scalar ask(@_)); }
sub escaped { my ($text) = @_; return join '', map { /[A-Za-z0-9._~-]/a ? $_ : sprintf '%%%02X', ord } split //, encode_utf8($text); }

# ---------- requests, each of whose answers is checked ----------

my ($answers, $deviations) = (0, 0);

sub conforms
{
	my ($what, $answer, @problems) = @_;
	$answers++;
	return unless @problems;
	$deviations++;
	diag(join "\n", "$what: not as the document has it:", @problems, $answer->{content} // '');
	return;
}

# Asks a bridge; tests the status.
sub via
{
	my ($asked, $status, $method, $path, $content, %headers) = @_;
	my $answer = $asked->request($method, $path, $content, %headers);
	is($answer->{status}, $status, "$method " . substr($path, 0, 60) . ": $status")
	  or diag($answer->{content});
	conforms("$method $path", $answer, $api->check($method, $path, $answer));
	return $answer;
}

sub api { return via($bridge, @_) }

# The same of a problem: returns it.
sub problem
{
	my $answer = api(@_);
	return { %{ $answer->{json} // {} }, headers => $answer->{headers} };
}

# What is sent as it is, and the answer.
sub raw
{
	my ($text) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => $bridge->address) or die "connect: $!";
	$socket->syswrite($text);
	local $/;
	my ($head, $content) = split /\r\n\r\n/, scalar <$socket>, 2;
	my ($status, @lines) = split /\r\n/, $head;
	my %answer = (status => (split / /, $status)[1], content => $content);
	/^([^:]+): (.*)$/ and $answer{headers}{ lc $1 } = $2 for @lines;
	$answer{json} = $json->decode($content) if ($answer{headers}{'content-type'} // '') =~ /json$/ && length $content;
	return \%answer;
}

# Whether a bridge has all that is in the log.
sub reach
{
	my ($asked) = @_;
	my $newest = ask(q{SELECT id || '-' || left(encode(hash, 'hex'), 8) FROM ff.events ORDER BY id DESC LIMIT 1});
	return Bridge::wait_until(sub { $asked->request('POST', '/evaluate', {})->{headers}{'ff-event-id'} eq $newest });
}

my $stream = $bridge->stream;
$stream->wait_for(1);

# ---------- one flag ----------

my $flag = {
	key => 'checkout', type => 'boolean', default_value => JSON::PP::false, description => 'Grüße aus Łódź',
	variants => { on => JSON::PP::true, off => JSON::PP::false }, overrides => [ { variant => 'on', users => ['u1'] } ],
	rules => [ { id => 'eu', if => { all => [ { attr => 'country', op => 'in_list', value => [ 'DE', 'AT' ] }, { not => { attr => 'plan', op => 'equals', value => 'free', ignore_case => JSON::PP::true } } ] },
			serve => [ { variant => 'on', weight => 50 }, { variant => 'off', weight => 50 } ] },
		{ if => { any => [ { percentage => 10, salt => 'x' }, { attr => 'email', op => 'exists' } ] }, serve => 'on' } ],
	rollout => [ { variant => 'on', weight => 12.5 } ], bucketing => { by => 'user_id', salt => 's' }, tags => [ 'a', 'b' ], owner => 'team',
	experiment => { active => JSON::PP::false, traffic => 100, hypothesis => 'more', started_at => '2026-11-20T00:00:00Z', ended_at => undef },
	expires_at => '2030-01-01T00:00:00Z',
};
my $body = $json->encode($flag);
my $answer = raw(join "\r\n", 'POST /flags HTTP/1.1', 'Host: localhost', 'Content-Type: application/json', 'FF-Actor: me', encode_utf8('FF-Comment: für später'), 'Connection: close',
	'Content-Length: ' . length $body, '', $body);
is($answer->{status}, 201, 'created');
conforms('POST /flags', $answer, $api->check('POST', '/flags', $answer));
is($answer->{headers}{location}, '/flags/checkout', '... its place');
is($answer->{headers}{etag}, '"1"', '... its version');
is_deeply($answer->{json}, ask_json(q{SELECT ff_flag('checkout')}), '... and itself');
my $event = $answer->{headers}{'ff-event-id'};
is($event, ask(q{SELECT id || '-' || left(encode(hash, 'hex'), 8) FROM ff.events ORDER BY id DESC LIMIT 1}), '... and the event');
ok(Bridge::wait_until(sub { grep { ($_->{id} // '') eq $event } $stream->data }), '... which comes on the stream');
is(join('|', ask(q{SELECT actor, comment FROM ff.events ORDER BY id DESC LIMIT 1})), 'me|für später', '... with who and why');
is(problem(409, 'POST', '/flags', $flag)->{sqlstate}, '23505', 'there is one of this key');

$answer = api(200, 'GET', '/flags/checkout');
is_deeply($answer->{json}, ask_json(q{SELECT ff_flag('checkout')}), 'read: as the database has it');
is($answer->{headers}{etag}, '"1"', '... and its version');
for my $tags ('"1"', 'W/"1"', '"0", "1"', '*')
{
	$answer = api(304, 'GET', '/flags/checkout', undef, 'If-None-Match' => $tags);
	is("$answer->{headers}{etag}|$answer->{content}", '"1"|', "If-None-Match $tags: not again");
}
api(200, 'GET', '/flags/checkout', undef, 'If-None-Match' => $_) for '"11"', '"2"';

my %whole = (type => 'boolean', default_value => JSON::PP::true, description => 'anew');
$answer = api(200, 'PUT', '/flags/checkout', \%whole, 'If-Match' => '"1"');
is($answer->{headers}{etag}, '"2"', 'replaced');
is_deeply([ sort keys %{ $answer->{json} } ], [qw(created_at default_value description enabled key state type updated_at version)], '... as a whole');
$answer = api(200, 'PUT', '/flags/checkout', $answer->{json});
ok(!exists $answer->{headers}{'ff-event-id'}, 'what is there already changes nothing');
is($answer->{headers}{etag}, '"2"', '... nor the version');
$answer = api(200, 'PATCH', '/flags/checkout', { description => undef, owner => 'ops', tags => ['x'] }, 'If-Match' => '"2"', 'Content-Type' => 'application/merge-patch+json; charset=utf-8');
is_deeply([ @{ $answer->{json} }{qw(owner tags version)}, exists $answer->{json}{description} ], [ 'ops', ['x'], 3, '' ], 'patched: null takes away');
is(problem(412, $_->[0], $_->[1], $_->[2], 'If-Match' => '"2"')->{sqlstate}, '55V01', "another version: $_->[0]")
  for [ 'PUT', '/flags/checkout', \%whole ], [ 'PATCH', '/flags/checkout', {} ], [ 'DELETE', '/flags/checkout' ], map { [ 'POST', "/flags/checkout/$_" ] } qw(enable disable restore);
problem(412, 'DELETE', '/flags/checkout', undef, 'If-Match' => $_) for '3', 'W/"3"', '"x"', '""', '"3", "4"', '"9223372036854775808"';
is(api(200, 'GET', '/flags/checkout')->{json}{version}, 3, '... and nothing was changed');
for (['disable', 'enabled', 0], ['enable', 'enabled', 1], ['DELETE', 'state', 'archived'], ['restore', 'state', 'active'])
{
	my ($act, $member, $value) = @$_;
	$answer = $act eq 'DELETE' ? api(200, 'DELETE', '/flags/checkout', undef, 'If-Match' => '*', 'If-None-Match' => '"6"') : api(200, 'POST', "/flags/checkout/$act");
	is($answer->{json}{$member}, $value, "$act: $member");
	is_deeply(api(200, 'GET', '/flags/checkout')->{json}, $answer->{json}, '... and whoever reads finds it so');
}
is(problem(404, $_->[0], $_->[1], $_->[2])->{status}, 404, '... is not there')
  for [ 'GET', '/flags/none' ], [ 'PUT', '/flags/none', \%whole ], [ 'PATCH', '/flags/none', {} ], [ 'DELETE', '/flags/none' ], [ 'GET', '/flags/none/audit' ], [ 'GET', '/flags/none/exposures' ],
  [ 'GET', '/flags/-x' ], [ 'GET', '/flags/a%2Fb' ], [ 'GET', '/flags/%C3%A4' ], map { [ 'POST', "/flags/none/$_" ] } qw(enable disable restore);

# ---------- what is wrong ----------

sub wrong { my ($document, $path, $sqlstate, $what) = @_; my $p = problem(400, 'POST', '/flags', $document); return is_deeply([ @$p{qw(path sqlstate)} ], [ $path, $sqlstate ], $what) || diag(explain $p) }
my %good = (key => 'good', type => 'boolean', default_value => JSON::PP::false);
wrong({ %good, type => 'number' }, 'default_value', '22023', 'a value of another type');
wrong({ %good, kye => 1 }, 'kye', '22023', 'an unknown member');
wrong({ %good, rules => [ { if => { attr => 'a', op => 'is', value => 1 }, serve => 'on' } ] }, 'rules[0].if.op', '22023', 'an unknown operator');
is(problem(400, 'POST', '/flags', { %good, requires => [ { flag => 'nowhere', variant => 'on' } ] })->{status}, 400, 'a flag that is not there');
api(201, 'POST', '/flags', { %good, key => 'base' });
api(201, 'POST', '/flags', { %good, key => 'top', requires => [ { flag => 'base', variant => 'off' } ] });
is(problem(400, 'PATCH', '/flags/base', { requires => [ { flag => 'top', variant => 'off' } ] })->{sqlstate}, '42P19', 'a cycle');
is(problem(409, 'DELETE', '/flags/base')->{sqlstate}, '2BP01', 'others use it');
is(problem(409, $_->[0], '/flags/base', $_->[1])->{sqlstate}, '55000', 'another key') for [ 'PATCH', { key => 'other' } ], [ 'PUT', { %good, key => 'other' } ];
is(problem(400, 'POST', '/flags', $_->[1])->{status}, 400, $_->[0]) for ['bad JSON', '{"key":'], ['no object', '[1]'], ['null', 'null'], ['a NUL', "{}\0"], ['an escaped NUL', '{"key": "a\\u0000"}'],
  ['bad UTF-8', "{\"key\": \"good\", \"type\": \"boolean\", \"default_value\": true, \"owner\": \"\xC3\x28\"}"], ['half a surrogate', '{"key": "\\ud800"}'],
  ['deep JSON', '[' x 100_000 . ']' x 100_000], ['deep JSON in place', '{"key": "good", "type": "json", "default_value": ' . '[' x 1000 . ']' x 1000 . '}'], ['nothing', ''];
problem(415, 'POST', '/flags', '{}', 'Content-Type' => $_) for 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', '';
problem(413, 'POST', '/flags', '{"key": "' . 'x' x (2 * 1024 * 1024) . '"}');
api(200, 'GET', '/flags/base');

done_testing();
