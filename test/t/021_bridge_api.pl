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
my $node = Ff::cluster('api', 'max_connections = 40', 'ff.exposure_sink = table');
my $sql = Ff::session($node);
my $bridge = Bridge->new($node, options => [ '--exposure-interval', '1s', '--max-body', '220kB' ]);
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
	conforms("a request that was taken, $method $path", $answer, $api->check_request($method, $path, $json->decode($json->encode($content)))) if ref $content && $status < 300;
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

# ---------- what checks the answers ----------

# Whether a document is what a schema has: a flag with some members changed.
sub is_valid { my ($schema, $text) = @_; return !%{ $api->problems({ '$ref' => "#/components/schemas/$schema" }, $json->decode(encode_utf8($text))) } }
my $valid = '{"key": "k", "type": "boolean", "state": "active", "enabled": true, "default_value": false, "version": 1, "created_at": "2026-01-01T00:00:00.5Z", "updated_at": "2026-01-01T00:00:00+01:00"}';
ok(is_valid('Flag', $valid), 'a flag');
for ([ '"version": 1', '"version": 0' ], [ '"version": 1', '"version": 1.5' ], [ '"version": 1', '"version": "1"' ], [ '"version": 1, ', '' ], [ '"k"', '"-k"' ], [ 'false', '"false"' ], [ 'true', 'null' ], [ 'true', '1' ], [ 'active', 'Active' ], [ 'boolean', 'bool' ],
	[ '2026-01-01T00:00:00.5Z', '2026-02-29T00:00:00Z' ], [ '01-01T00:00:00+01:00', '01-01 00:00:00+01:00' ], [ '{', '{"kye": 1, ' ], [ '{', '{"owner": null, ' ], [ '{', '{"tags": ["a", 1], ' ], [ '{', '{"variants": {"on": 1}, ' ], [ '{', '{"variants": {"?": true}, ' ],
	[ '{', '{"rules": [{"if": {"attr": "a", "op": "exists", "value": 1}, "serve": "on"}], ' ], [ '{', '{"rules": [{"if": {"any": []}, "serve": "on"}], ' ], [ '{', '{"rollout": [{"variant": "on", "weight": 100.5}], ' ])
{
	my ($part, $instead) = @$_;
	ok(!is_valid('Flag', $valid =~ s/\Q$part\E/$instead/r), "no flag: $instead");
}
ok(is_valid('Condition', $_), "a condition: $_") for '{"not": {"all": [{"attr": "a", "op": "equals", "value": true, "ignore_case": false}, {"segment": "s"}]}}', '{"percentage": 1.5, "salt": "x"}';
ok(!is_valid('Condition', $_), "no condition: $_") for '{"segment": "s", "flag": "f"}', '{"attr": "a", "op": "before", "value": "2026"}', '{}', 'true';

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
problem(413, 'POST', '/flags', '{"key": "' . 'x' x 230_000 . '"}');
api(200, 'GET', '/flags/base');

# ---------- lists ----------

my @descriptions = ('Ärger', 'ÄRGER mit STRASSE', 'straße', 'ΣΊΣΥΦΟΣ', 'σίσυφος', 'İstanbul', 'Жёлтый', 'ЖЁЛТЫЙ', '50% off_x', 'a "quoted" \\ one', '', undef);
for my $i (1 .. 60)
{
	$sql->do(q{INSERT INTO ff.flags (key, type, default_value, state, tags, owner, description) VALUES ($1, 'number', '1', $2, $3::jsonb, $4, $5)}, undef,
		(qw(list List LIST l))[ $i % 4 ] . "-$i", $i % 5 ? 'active' : 'archived', $i % 3 ? $json->encode([ map { "t$_" } 1 .. $i % 4 ]) : undef, (undef, '', 'team a', 'Ü')[ $i % 7 % 4 ], $descriptions[ $i % @descriptions ]);
}
ok(reach($bridge), 'many flags');

my $seed = $ENV{FF_BRIDGE_SEED} // int(rand(2**31));
srand($seed);
note("seed $seed");

sub any_of { my @values = @_; return $values[ rand @values ]; }

# One page, compared with that of SQL; returns its keys and the next one's path.
sub page
{
	my ($path, $from, @values) = @_;
	my $page = $bridge->request('GET', $path);
	conforms("GET $path", $page, $api->check('GET', $path, $page));
	my $wanted = ask_json("SELECT coalesce(jsonb_agg(definition ORDER BY 1), '[]') FROM (SELECT definition->>'key' COLLATE \"C\", definition FROM $from) d", @values);
	my ($kind) = $path =~ m{^/(\w+)};
	return ($json->encode($page->{json}{$kind} // []) eq $json->encode($wanted), [ map { $_->{key} } @$wanted ], ($page->{headers}{link} // '') =~ /^<(.*)>/ ? $1 : undef);
}

sub with_query
{
	my ($path, @query) = @_;
	my @parts;
	while (my ($name, $value) = splice @query, 0, 2) { push @parts, "$name=" . escaped($value) if defined $value; }
	return @parts ? "$path?" . join('&', @parts) : $path;
}

my ($lists, $pages, $unequal) = (0, 0, 0);
for (1 .. 150)
{
	my $state = any_of(undef, undef, 'active', 'archived', 'neither');
	my $tag = any_of(undef, undef, undef, 't1', 't3', 'T1', '');
	my $owner = any_of(undef, undef, undef, 'team a', 'Ü', 'ü', '');
	my $search = any_of(undef, 'ärger', 'ÄRGER', 'straße', 'STRASSE', 'σ', 'Σ', 'ς', 'i', 'İ', 'жё', '50%', '_', 'LIST', 'list-1 ', "\\", '"', '');
	my $limit = any_of(undef, 1, 2, 7, 20, 1000);
	my $after = any_of(undef, undef, '', 'List', 'l', 'list-30', 'zzz', 'ä');
	my $path = with_query('/flags', state => $state, tag => $tag, owner => $owner, search => $search, limit => $limit, after => $after);
	my $first = $path;
	$lists++;
	while (defined $path)
	{
		my ($is_equal, $keys, $next) = page($path, 'ff_flags($1, $2, $3, $4, $5, $6)', $state, $tag, $owner, $search, $limit // 100, $after);
		my $more = $keys && @$keys ? ask(q{SELECT count(*) FROM ff_flags($1, $2, $3, $4, 1, $5)}, $state, $tag, $owner, $search, $keys->[-1]) : 0;
		$pages++;
		if (!$is_equal || $more != defined $next)
		{
			$unequal++;
			diag("GET $path of $first is not what ff_flags says");
			last;
		}
		($path, $after) = ($next, $keys->[-1]);
	}
}
is($unequal, 0, "$lists lists of $pages pages are what ff_flags has");
for my $query ('limit=0', 'limit=1001', 'limit=x', 'limit=', 'limit=1&limit=2', 'search=%ff', 'state=a&state=b')
{
	my ($name) = $query =~ /^(\w+)/;
	is(problem(400, 'GET', "/flags?$query")->{path}, $name, "wrong: $query");
}

# ---------- history ----------

my ($path, @events) = ('/flags/checkout/audit?limit=2');
while (defined $path)
{
	my $page = api(200, 'GET', $path);
	push @events, @{ $page->{json}{events} };
	cmp_ok(scalar @{ $page->{json}{events} }, '<=', 2, '... a page');
	$path = ($page->{headers}{link} // '') =~ /^<(.*)>/ ? $1 : undef;
}
is_deeply(\@events, ask_json(q{SELECT jsonb_agg(to_jsonb(a) ORDER BY event_id) FROM ff_audit('checkout') a}), 'the history, page by page, is that of ff_audit');
is(join(' ', map { $_->{action} } @events), 'created updated updated disabled enabled archived restored', '... in the order in which it happened');
api(200, 'DELETE', '/flags/top');
ask(q{SELECT ff_purge_flag('top')});
reach($bridge);
problem(404, 'GET', '/flags/top');
is(api(200, 'GET', '/flags/top/audit')->{json}{events}[-1]{action}, 'purged', 'the history of what is purged is still there');

# ---------- exposures that are reported ----------

$sql->do(q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES ('exp', 'boolean', 'false', '[{"variant": "on", "weight": 100}]', '{"active": true}')});
reach($bridge);
my %shown = (flag_key => 'exp', variant_key => 'on', reason => 'ROLLOUT');
my $batch = { batch_id => 'batch-1', exposures => [ map { { %shown, user_id => "r$_", exposed_at => '2026-01-0' . $_ . 'T10:00:00Z', evaluations => $_, flag_version => 1, rule_id => undef } } 1 .. 5 ] };
is_deeply(api(200, 'POST', '/exposures', $batch)->{json}, { recorded => 5, duplicate => JSON::PP::false }, 'exposures are recorded');
is_deeply(api(200, 'POST', '/exposures', $batch)->{json}, { recorded => 0, duplicate => JSON::PP::true }, '... once, however often they are sent');
is(ask(q{SELECT count(*) || ' ' || sum(evaluations) FROM ff.exposures}), '5 15', '... and are there');
is(problem(400, 'POST', '/exposures', $_->[0])->{path} // 'none', $_->[1], "wrong: $_->[1]")
  for [ { %$batch, batch_id => '' }, 'batch_id' ], [ { batch_id => 'b' }, 'none' ], [ { exposures => [] }, 'none' ], [ { batch_id => 'b', exposures => {} }, 'exposures' ],
  [ { batch_id => 'b', exposures => [ {%shown} ] }, 'exposures[0].user_id' ], [ { batch_id => 'b', exposures => [ { %shown, user_id => 'u' }, { %shown, user_id => 'u', x => 1 } ] }, 'exposures[1].x' ],
  [ { batch_id => 'b', exposures => [ { %shown, user_id => 'u', exposed_at => 'yesterday' } ] }, 'exposures[0].exposed_at' ], [ { batch_id => 'b', exposures => [ map { {} } 0 .. 10_000 ] }, 'exposures' ];
is(ask('SELECT count(*) FROM ff.exposures'), 5, '... and nothing is written');
for ([], [ since => '2026-01-02T10:30:00Z' ], [ until => '2026-01-03T00:00:00Z' ], [ since => '2026-01-02T00:00:00+01:00', until => '2026-01-04T00:00:00Z' ], [ since => '2040-01-01T00:00:00Z' ])
{
	my %range = @$_;
	is_deeply(api(200, 'GET', with_query('/flags/exp/exposures', %range))->{json}, ask_json(q{SELECT ff_exposures('exp', $1, $2)}, $range{since}, $range{until}), 'figures, ' . join ' ', %range);
}
is(problem(400, 'GET', '/flags/exp/exposures?since=soon')->{sqlstate}, '22007', 'since when?');

# ---------- evaluation ----------

my %evaluated = (
	'bool-rollout' => [ 'boolean', 'false', rollout => '[{"variant": "on", "weight": 33.333}]' ],
	'bool-off' => [ 'boolean', 'true', enabled => 'false' ],
	'bool-archived' => [ 'boolean', 'true', state => 'archived' ],
	'text-variants' => [ 'string', '"none"', variants => '{"a": "A", "b": "Ünïcode \"q\" \\\\ \n", "none": "none"}', rules => '[{"id": "split", "if": {"attr": "country", "op": "equals", "value": "de", "ignore_case": true}, "serve": [{"variant": "a", "weight": 40}, {"variant": "b", "weight": 30}]}]' ],
	'number-values' => [ 'number', '0', variants => '{"pi": 3.14159, "big": 1e15, "small": 1.50, "neg": -7}', rules => '[{"if": {"attr": "age", "op": "greater_or_equal", "value": 65}, "serve": "pi"}, {"if": {"attr": "age", "op": "less_than", "value": 0}, "serve": "neg"}, {"id": "numbers", "if": {"attr": "age", "op": "in_list", "value": [17, 18.5, 1e3]}, "serve": "big"}]', overrides => '[{"variant": "small", "users": ["user-1", "42"]}]' ],
	'json-values' => [ 'json', '{"a": [1, 2, {"b": null}], "z": "é"}', variants => '{"list": [1, "x", true], "false": false}', rules => '[{"id": "re", "if": {"attr": "email", "op": "regex", "value": "^[^@]+@example\\\\.(com|org)$"}, "serve": "list"}, {"id": "net", "if": {"attr": "ip", "op": "in_cidr", "value": ["10.0.0.0/8", "2001:db8::/32"]}, "serve": "false"}]' ],
	'needs' => [ 'boolean', 'false', requires => '[{"flag": "bool-rollout", "variant": "on"}]', rollout => '[{"variant": "on", "weight": 50}]' ],
	'needs-killed' => [ 'boolean', 'false', requires => '[{"flag": "bool-off", "variant": "off"}]' ],
	'segmented' => [ 'string', '"out"', variants => '{"in": "in", "out": "out"}', rules => '[{"id": "staff", "if": {"segment": "staff"}, "serve": "in"}, {"id": "other", "if": {"flag": "bool-rollout", "variant": "on"}, "serve": "in"}]' ],
	'versions' => [ 'boolean', 'false', rules => '[{"id": "new", "if": {"attr": "app.version", "op": "semver_greater", "value": "1.2.0-rc.1"}, "serve": "on"}, {"id": "late", "if": {"attr": "since", "op": "before", "value": "2020-01-01T00:00:00Z"}, "serve": "on"}, {"id": "absent", "if": {"not": {"attr": "app", "op": "exists"}}, "serve": "off"}]' ],
	'by-org' => [ 'boolean', 'false', bucketing => '{"by": "org.id", "salt": "orgs"}', rollout => '[{"variant": "on", "weight": 50}]', experiment => '{"active": true, "traffic": 60}' ],
	'slow' => [ 'boolean', 'false', rules => '[{"id": "limit", "if": {"attr": "email", "op": "regex", "value": "^(a+)+$"}, "serve": "on"}]' ],
	'lists' => [ 'boolean', 'false', rules => '[{"id": "tags", "if": {"attr": "tags", "op": "contains", "value": ["x", 5]}, "serve": "on"}, {"id": "part", "if": {"attr": "email", "op": "contains", "value": "EXAMPLE", "ignore_case": true}, "serve": "off"}]' ],
);
$sql->do(q{INSERT INTO ff.segments (key, "if", included, excluded) VALUES ('staff', '{"any": [{"attr": "email", "op": "ends_with", "value": "@example.com"}, {"percentage": 20, "salt": "staff"}]}', '["user-3"]', '["user-1"]')});
for my $key ('bool-rollout', 'bool-off', sort keys %evaluated)
{
	my ($type, $default, %members) = @{ $evaluated{$key} };
	my @names = sort keys %members;
	$sql->do(join(', ', "INSERT INTO ff.flags (key", 'type', 'default_value', @names) . ') VALUES (' . join(', ', map { $sql->quote($_) } $key, $type, $default, @members{@names}) . ') ON CONFLICT DO NOTHING');
}
my @contexts = (map({ { user_id => "user-$_" } } 1 .. 12), map({ { targetingKey => "k$_", country => any_of('DE', 'de', 'AT', undef), age => any_of(17, 18.5, 1000, 66, -1, '66'), org => { id => "o$_" } } } 1 .. 20),
	{}, { user_id => 42 }, { user_id => 4.5, age => 65 }, { user_id => '' }, { user_id => undef, targetingKey => 'k1' }, { user_id => 'ü', email => 'Someone@Example.com' }, { user_id => 'u', email => 'a@example.com', tags => [ 'y', 5 ] },
	{ email => 'a' x 40 . 'b' }, { user_id => 'a', email => 'x' x 5000 }, { ip => '10.1.2.3' }, { ip => '2001:db8::1' }, { ip => '::ffff:10.0.0.1' }, { app => { version => '1.2.0' }, since => '2019-12-31T23:59:59.999999Z' },
	{ app => { version => '1.2' }, since => '2019-12-31' }, { org => 'o', country => [ 'FR', 'DE' ] }, { tags => ['x'], age => [ 1, 70 ] }, { tags => [ '5', { x => 1 } ] });
my @raw = ('{"user_id": 1.0}', '{"user_id": 9007199254740993}', '{"user_id": 17, "age": 123456789012345678901234567890}', '{"user_id": "a", "age": 1e3}', '{"age": -0.0, "user_id": 7e0}', '{"user_id": 18446744073709551616}', '{"age": 17, "user_id": 5, "x": 99999999999999999999}');
ok(reach($bridge), 'flags to evaluate');

my @members = qw(flag_key value variant_key reason rule_id error_code error_message flag_version);
my ($evaluations, %different) = (0);
for my $context (@raw, map { $json->encode($_) } @contexts)
{
	for my $key (sort(keys %evaluated), 'nowhere')
	{
		my $fallback = any_of(undef, undef, 'null', '"f"', '{"a": [1.5, 12345678901]}');
		my $one = $bridge->request('POST', "/evaluate/$key", qq({"context": $context) . (defined $fallback ? qq(, "fallback": $fallback}) : '}'));
		conforms("POST /evaluate/$key", $one, $api->check('POST', "/evaluate/$key", $one));
		my $wanted = ask_json(q{SELECT jsonb_strip_nulls(to_jsonb(e) - 'value' - 'variant_key' - 'rule_id') || jsonb_build_object('flag_key', $1::text, 'value', value, 'variant_key', variant_key, 'rule_id', rule_id)
			FROM ff_evaluate($1, $2, $3) e}, $key, decode_utf8($context), $fallback);
		$evaluations++;
		push @{ $different{$key} }, "$context: $one->{content} instead of " . $json->encode($wanted) unless $json->encode($one->{json}) eq $json->encode($wanted);
	}
	my $all = $bridge->request('POST', '/evaluate', qq({"context": $context}));
	conforms('POST /evaluate', $all, $api->check('POST', '/evaluate', $all));
	my $wanted = ask_json(q{SELECT jsonb_agg(jsonb_strip_nulls(to_jsonb(e) - 'value' - 'variant_key' - 'rule_id') || jsonb_build_object('value', value, 'variant_key', variant_key, 'rule_id', rule_id) ORDER BY flag_key COLLATE "C")
		FROM ff_evaluate_all($1) e}, decode_utf8($context));
	next if $json->encode($all->{json}{evaluations} // []) eq $json->encode($wanted);
	my %wanted = map { ($_->{flag_key} => $json->encode($_)) } @$wanted;
	push @{ $different{all} }, "$context: $all->{status} " . join ' ', map { "$_ instead of $wanted{ $json->decode($_)->{flag_key} }" } grep { $_ ne $wanted{ $json->decode($_)->{flag_key} } } map { $json->encode($_) } @{ $all->{json}{evaluations} };
}
is_deeply([ map { "$_: $different{$_}[0]" } sort keys %different ], [], "$evaluations evaluations, and all at once, are what ff_evaluate has");
is_deeply(api(200, 'POST', '/evaluate/bool-off', $_)->{json}{value}, JSON::PP::true, 'a context may be left out') for {}, { context => undef }, { other => 1 };
problem(400, 'POST', '/evaluate/bool-off', $_) for '[]', '"x"', '{"context": []}', '{"context": "x"}', '{"context": {"a": 1, "a": 2}}', '{"context": {"a": "\\u0000"}}', '{', '', "{}\0", "{\"context\": {\"a\": \"\xFF\"}}", '[' x 100_000;
problem(400, 'POST', '/evaluate', '{"context": 1}');
problem(415, 'POST', $_, '{}', 'Content-Type' => 'text/plain') for '/evaluate', '/evaluate/exp', '/exposures';
problem(404, 'POST', '/evaluate/-', {});
problem(413, 'POST', '/evaluate', '{"context": {"a": "' . 'x' x 230_000 . '"}}');

# ---------- segments ----------

my $segment = { key => 'beta', description => 'Probe-Nutzer', if => { attr => 'email', op => 'ends_with', value => ['@example.com'], ignore_case => JSON::PP::true }, included => ['u1'], excluded => ['u2'] };
$answer = api(201, 'POST', '/segments', $segment, 'FF-Actor' => 'me');
is("$answer->{headers}{location} $answer->{headers}{etag}", '/segments/beta "1"', 'a segment');
is_deeply($answer->{json}, ask_json(q{SELECT ff_segment('beta')}), '... as the database has it');
problem(409, 'POST', '/segments', $segment);
is(problem(400, 'POST', '/segments', { %$segment, key => 'x', included => ['u2'] })->{sqlstate}, '22023', 'somebody in both lists');
is(problem(400, 'POST', '/segments', { key => 'x', if => { segment => 'nowhere' } })->{status}, 400, 'a segment that is not there');
api(200, 'PUT', '/segments/beta', { if => { not => { segment => 'staff' } } }, 'If-Match' => '"1"');
is(problem(400, 'PUT', '/segments/staff', { if => { segment => 'beta' } })->{sqlstate}, '42P19', 'a cycle');
$answer = api(200, 'PATCH', '/segments/beta', { description => 'Zwei', included => ['u9'], if => undef });
is_deeply($answer->{json}, ask_json(q{SELECT ff_segment('beta')}), 'patched');
problem(412, $_, '/segments/beta', $_ eq 'DELETE' ? undef : {}, 'If-Match' => '"1"') for qw(PUT PATCH DELETE);
api(304, 'GET', '/segments/beta', undef, 'If-None-Match' => $answer->{headers}{etag});
is(api(200, 'DELETE', '/segments/beta')->{json}{state}, 'archived', 'archived');
is(api(200, 'GET', '/segments/beta')->{json}{state}, 'archived', '... and whoever reads finds it so');
is(api(200, 'POST', '/segments/beta/restore')->{json}{state}, 'active', 'restored');
is(join(' ', map { $_->{action} } @{ api(200, 'GET', '/segments/beta/audit')->{json}{events} }), 'created updated updated archived restored', 'its history');
problem(404, 'GET', "/segments/$_") for 'none', 'none/audit';
problem(405, 'POST', "/segments/beta/$_") for 'audit';
problem(404, 'POST', "/segments/beta/$_") for 'enable', 'exposures';
problem(409, 'DELETE', '/segments/staff');
$sql->do($_) for q{SELECT ff_archive_segment('beta')}, q{SELECT ff_purge_segment('beta')};
$sql->do(q{INSERT INTO ff.segments (key, description, included, state) SELECT 'list-' || i, CASE WHEN i % 2 = 0 THEN 'Übung' END, '["u"]', CASE WHEN i % 3 = 0 THEN 'archived' ELSE 'active' END FROM generate_series(1, 9) i});
reach($bridge);
problem(404, 'GET', '/segments/beta');
for ([], [ state => 'active', limit => 2 ], [ search => 'ÜBUNG', limit => 1 ], [ state => 'archived', search => 'list' ], [ tag => 'x', owner => 'y', limit => 4 ])
{
	my %filter = @$_;
	my ($next, $good, @keys) = (with_query('/segments', @$_), 1);
	my $after;
	while (defined $next)
	{
		(my $is_equal, my $keys, $next) = page($next, 'ff_segments($1, $2, $3, $4)', $filter{state}, $filter{search}, $filter{limit} // 100, $after);
		$good &&= $is_equal;
		push @keys, @$keys;
		$after = $keys->[-1];
	}
	is_deeply([ $good, @keys ], [ 1, @{ ask_json(q{SELECT coalesce(jsonb_agg(segment_key ORDER BY segment_key), '[]') FROM ff_segments($1, $2)}, @filter{qw(state search)}) } ], "segments, @$_");
}

# ---------- namespaces ----------

$sql->do(q{SELECT ff_create_namespace('other')});
ok(Bridge::wait_until(sub { $bridge->status('/flags?namespace=other') == 200 }), 'a new namespace is there without a restart');
is(api(201, 'POST', '/flags?namespace=other', { %good, key => 'checkout', experiment => { active => JSON::PP::true }, rollout => [ { variant => 'on', weight => 100 } ] })->{headers}{location}, '/flags/checkout?namespace=other', 'its flags are its own');
is_deeply(api(200, 'GET', '/flags/checkout?namespace=other')->{json}, ask_json(q{SELECT ff_flag('checkout', 'other')}), '... read');
api(201, 'POST', '/segments?namespace=other', { key => 'seg', included => ['u'] });
api(200, @$_) for [ 'PUT', '/flags/checkout?namespace=other', { %whole, rollout => [ { variant => 'on', weight => 50 } ], experiment => { active => JSON::PP::false } } ], [ 'PATCH', '/flags/checkout?namespace=other', { owner => 'o' } ], [ 'DELETE', '/flags/checkout?namespace=other' ],
  (map { [ 'POST', "/flags/checkout/$_?namespace=other" ] } qw(restore disable enable)), [ 'GET', '/flags/checkout/audit?namespace=other' ], [ 'GET', '/flags/checkout/exposures?namespace=other' ],
  [ 'GET', '/flags?namespace=other&limit=1' ], [ 'POST', '/exposures?namespace=other', { batch_id => 'o', exposures => [ { %shown, flag_key => 'checkout', user_id => 'o' } ] } ], [ 'POST', '/evaluate/checkout?namespace=other', {} ], [ 'POST', '/evaluate?namespace=other', {} ],
  [ 'GET', '/segments?namespace=other' ], [ 'GET', '/segments/seg?namespace=other' ], [ 'PUT', '/segments/seg?namespace=other', { included => ['v'] } ], [ 'PATCH', '/segments/seg?namespace=other', {} ], [ 'DELETE', '/segments/seg?namespace=other' ],
  [ 'POST', '/segments/seg/restore?namespace=other' ], [ 'GET', '/segments/seg/audit?namespace=other' ];
is(ask(q{SELECT string_agg(DISTINCT namespace, ' ') FROM ff.exposures WHERE user_id = 'o'}), 'other', '... reported');
is(api(200, 'GET', '/flags/checkout')->{json}{namespace} // api(200, 'GET', '/flags/checkout')->{json}{version}, 7, q{... and nobody else's});
my $others = $bridge->stream('/stream?namespace=other');
is($json->decode(($others->wait_for(1))[0]{data})->{namespace}, 'other', '... with a stream');

# ---------- every route ----------

my $paths = $api->{document}{paths};
for my $template (sort keys %$paths)
{
	(my $path = $template) =~ s/\{key\}/base/;
	my @methods = map { uc } grep { $_ ne 'parameters' } sort keys %{ $paths->{$template} };
	is(join(' ', sort split /, /, api(204, 'OPTIONS', $path)->{headers}{allow}), "@methods", "$template: OPTIONS tells the methods");
	for my $method (grep { my $one = $_; !grep { $_ eq $one } @methods } qw(GET HEAD POST PUT PATCH DELETE))
	{
		is(api(405, $method, $path)->{headers}{allow}, api(204, 'OPTIONS', $path)->{headers}{allow}, '... as a method that it has not does');
	}
	if ($paths->{$template}{get} && $template ne '/stream')
	{
		my ($get, $head) = map { $bridge->request($_, $path) } 'GET', 'HEAD';
		delete $_->{headers}{date} for $get, $head;
		delete $_->{headers}{'content-length'} for $template =~ /metrics/ ? ($get, $head) : ();
		is_deeply([ @$head{qw(status headers)}, $head->{content} // '' ], [ @$get{qw(status headers)}, '' ], '... and HEAD is GET without the body');
	}
	for my $method (grep { $_ ne 'OPTIONS' && $_ ne 'HEAD' } @methods)
	{
		my $operation = $paths->{$template}{ lc $method };
		my @parameters = map { $api->resolve($_)->{name} } @{ $operation->{parameters} // [] };
		my $body = $operation->{requestBody} ? $template eq '/exposures' ? { batch_id => 'x', exposures => [] } : {} : undef;
		problem(404, $method, "$path?namespace=nowhere", $body) if grep { $_ eq 'namespace' } @parameters;
		problem(400, $method, "$path?namespace=a&namespace=b", $body);
		my @cross = ([ Origin => 'http://evil.example' ], [ Origin => 'null' ], [ Origin => 'https://' . $bridge->address ], [ 'Sec-Fetch-Site' => 'cross-site' ], [ 'Sec-Fetch-Site' => 'same-site' ]);
		problem(403, $method, $path, $body, @$_) for $method eq 'GET' ? () : @cross;
	}
}
api(200, 'GET', '/flags/base', undef, Origin => 'http://evil.example');
api(200, 'POST', '/evaluate/base', {}, Origin => $bridge->url, 'Sec-Fetch-Site' => 'same-origin');
for my $host ('evil.example', 'localhost.evil.example', '127.0.0.1.nip.io:80')
{
	$answer = raw("GET /flags HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n");
	is($answer->{status}, 421, "$host is not this machine");
	conforms('GET /flags', $answer, $api->check('GET', '/flags', $answer));
}
is(raw("GET /healthz HTTP/1.1\r\nHost: $_\r\nConnection: close\r\n\r\n")->{status}, 200, "$_ is") for 'localhost', 'LOCALHOST:1', '127.0.0.1', '[::1]:8080';
problem(404, 'GET', $_) for '/', '/flag', '/flags/', '/flags//audit', '/flags/base/', '/flags/base/nothing', '/flags/base/audit/x', '/Flags', '/openapi', '/flags/..';
for my $path ('/flags/a%00', '/flags/%ff')
{
	$answer = $bridge->request('GET', $path);
	is($answer->{status}, 400, 'a path that is no text');
	conforms("GET $path", $answer, $api->check('GET', '/flags/a', $answer, 1));
}
api(200, 'GET', $_) for '/healthz', '/readyz', '/metrics', '/openapi.json';
my ($version) = PostgreSQL::Test::Utils::slurp_file("$ENV{FF_SOURCE}/ff.control") =~ /default_version = '(.*)'/;
is($api->{document}{info}{version}, $version, 'the document is of this version');
is_deeply($api->{document}, $json->decode(PostgreSQL::Test::Utils::slurp_file("$ENV{FF_SOURCE}/sse-bridge/openapi.json")), '... the one of the source');

# ---------- a role that may only read ----------

$sql->do($_) for 'CREATE ROLE reader LOGIN', q{SELECT ff_grant('reader', 'read', 'default')};
my $reader = Bridge->new($node, database => 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres user=reader');
via($reader, 200, @$_) for [ 'GET', '/flags' ], [ 'GET', '/flags/base' ], [ 'GET', '/flags/base/audit' ], [ 'POST', '/evaluate/base', {} ], [ 'GET', '/flags/base/exposures' ], [ 'GET', '/readyz' ];
via($reader, 403, @$_) for [ 'POST', '/flags', { %good, key => 'mine' } ], [ 'PUT', '/flags/base', \%whole ], [ 'PATCH', '/flags/base', { owner => 'me' } ], [ 'DELETE', '/flags/base' ],
  (map { [ 'POST', "/flags/base/$_" ] } qw(restore enable disable)), [ 'POST', '/exposures', { %$batch, batch_id => 'mine' } ], [ 'POST', '/segments', { key => 'mine', included => ['u'] } ], [ 'PUT', '/segments/staff', { included => ['u'] } ],
  [ 'PATCH', '/segments/staff', {} ], [ 'DELETE', '/segments/staff' ], [ 'POST', '/segments/staff/restore' ];
via($reader, 404, 'GET', '/flags?namespace=other');
via($reader, 404, 'GET', '/stream?namespace=other');
is($reader->stop, 0, 'a bridge of a role that may only read');

# ---------- a role that may write exposures of one namespace, and not of another ----------

$sql->do($_) for 'CREATE ROLE half LOGIN', map({ qq{SELECT ff_grant('half', 'read', '$_')} } 'default', 'other'), q{SELECT ff_grant('half', 'write', 'default')},
  q{SELECT ff_update_flag('checkout', '{"rollout": [{"variant": "on", "weight": 100}], "experiment": {"active": true}}', namespace => 'other')};
my $half = Bridge->new($node, database => 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres user=half', options => [ '--exposure-interval', '1s' ]);
sub written { my ($who) = @_; return Bridge::wait_until(sub { ask('SELECT sum(evaluations) FROM ff.exposures WHERE user_id = $1', $who) }) }
via($half, 200, 'POST', '/evaluate/checkout?namespace=other', { context => { user_id => 'half-other' } });
ok(Bridge::wait_until(sub { $half->metric('ff_bridge_exposure_failures_total') > 0 }), 'exposures that are refused');
for my $who ('half-1', 'half-2')
{
	via($half, 200, 'POST', '/evaluate/exp', { context => { user_id => $who } });
	ok(written($who), '... keep nobody waiting');
}
is($half->metric('ff_bridge_exposures_waiting'), 1, '... and wait');
$sql->do(q{SELECT ff_grant('half', 'write', 'other')});
ok(written('half-other'), '... until they may be written');
is($half->stop, 0, '... and the bridge ends');

# ---------- who wrote reads what was written ----------

my $stale = 0;
for my $i (1 .. 100)
{
	my $owner = "owner-$i";
	my $written = $bridge->request('PATCH', '/flags/base', { owner => $owner });
	$stale++ unless ($bridge->request('GET', '/flags/base')->{json}{owner} // '') eq $owner;
	$stale++ unless $bridge->request('POST', '/evaluate', {})->{headers}{'ff-event-id'} eq $written->{headers}{'ff-event-id'};
}
is($stale, 0, 'who wrote reads what was written, at once');

# ---------- without the database ----------

sub exposed { return join ' ', ask(q{SELECT count(*), count(DISTINCT user_id), sum(evaluations) FROM ff.exposures WHERE user_id LIKE $1}, "$_[0]%") }
sub expose { my ($who, $users, $times) = @_; api(200, 'POST', '/evaluate/exp', { context => { user_id => "$who-$_" } }) for map { my $user = $_; map { $user } 1 .. $times // 1 } 1 .. $users; return }

expose('before', 10, 2);
ok(Bridge::wait_until(sub { exposed('before') =~ /^\d+ 10 20$/ }), 'who is evaluated is exposed');
$sql->disconnect;
$node->stop;
ok(Bridge::wait_until(sub { $bridge->request('GET', '/readyz')->{json}{database} eq 'away' }), 'the database is away');
$answer = api(200, 'GET', '/readyz');
like($answer->{json}{stale_seconds}, qr/^\d+$/, '... the bridge is ready, and tells how stale');
for ([ 'GET', '/flags/base' ], [ 'GET', '/flags?search=ärger' =~ s/ä/%C3%A4/r ], [ 'GET', '/segments' ], [ 'POST', '/evaluate/base', {} ], [ 'POST', '/evaluate', {} ])
{
	like(api(200, @$_)->{headers}{'ff-stale'}, qr/^\d+$/, '... as what it answers does');
}
like(api(304, 'GET', '/flags/base', undef, 'If-None-Match' => '*')->{headers}{'ff-stale'}, qr/^\d+$/, '... also that it has not changed');
for ([ 'POST', '/flags', { %good, key => 'new' } ], [ 'PUT', '/flags/base', \%whole ], [ 'PATCH', '/flags/base', {} ], [ 'DELETE', '/flags/base' ], [ 'POST', '/flags/base/disable' ], [ 'POST', '/exposures', $batch ],
	[ 'GET', '/flags/base/audit' ], [ 'GET', '/flags/base/exposures' ], [ 'POST', '/segments', $segment ])
{
	ok(problem(503, @$_)->{headers}{'retry-after'} > 0, '... what needs it is to be tried again later');
}
expose('away', 30, 3);
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_exposure_failures_total') >= 2 }), 'exposures can not be written');
expose('away', 30);
my $connection = $bridge->stream;
$connection->wait_for(1);
is(($connection->data)[0]{event}, 'snapshot', 'a stream begins');
$node->start;
$sql = Ff::session($node);
ok(Bridge::wait_until(sub { $bridge->request('GET', '/readyz')->{json}{database} eq 'connected' }), 'the database is back');
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_exposures_waiting') == 0 }), 'exposures are written');
like(exposed('away'), qr/^\d+ 30 120$/, '... all of them, and none twice');
ok(!exists api(200, 'GET', '/flags/base')->{headers}{'ff-stale'}, 'what is read is not stale any more');
ok(Bridge::wait_until(sub { $bridge->request('PATCH', '/flags/base', { description => 'back' })->{status} == 200 }), 'and writing goes on');

# ---------- the stream has had all of it ----------

my $last = ask(q{SELECT max(id) FROM ff.events WHERE namespace = 'default'});
ok(Bridge::wait_until(sub { grep { ($_->{id} // '') =~ /^$last-/ } $stream->data }), 'the stream of the beginning is still there');
my @told = $stream->data;
for my $told (@told, ($others->data)[0])
{
	my $data = $json->decode($told->{data});
	conforms("event $told->{event}", { content => $told->{data} }, $api->check_event($told->{event}, $data));
}
is_deeply([ map { $_->{id} } @told[ 1 .. $#told ] ], ask_json(q{SELECT jsonb_agg(id || '-' || left(encode(hash, 'hex'), 8) ORDER BY id) FROM ff.events WHERE namespace = 'default'}), '... and has told each event');
is_deeply([ map { my $data = $json->decode($_->{data}); $data->{flag} // $data->{segment} } @told[ 1 .. $#told ] ], ask_json(q{SELECT jsonb_agg(new_value ORDER BY id) FROM ff.events WHERE namespace = 'default'}), '... with what it led to');

# ---------- the end ----------

$_->close for $stream, $others, $connection;
$bridge->stop;
$bridge = Bridge->new($node, options => [ '--exposure-interval', '1h', '--drain-timeout', '60s' ]);
expose('last', 20);
is($bridge->metric('ff_bridge_exposures_waiting'), 20, 'exposures wait');
is($bridge->stop('TERM'), 0, 'the bridge ends');
is(exposed('last'), '20 20 20', '... and has written them before');

$bridge = Bridge->new($node, options => [ '--exposure-interval', '1s' ]);
$sql->disconnect;
$node->stop;
expose('late', 20);
ok(Bridge::wait_until(sub { $bridge->metric('ff_bridge_exposure_failures_total') >= 5 }), 'a bridge that has failed to write them, and waits before it tries again');
$node->start;
$sql = Ff::session($node);
ok(Bridge::wait_until(sub { $bridge->request('GET', '/readyz')->{json}{database} eq 'connected' && $bridge->metric('ff_bridge_pool_ready') > 0 }), '... when the database is back');
is($bridge->stop('TERM'), 0, '... ends');
is(exposed('late'), '20 20 20', '... and writes them, too');

$node->stop;
$bridge = Bridge->new($node, not_ready => 1);
is(problem(503, $_->[0], $_->[1], $_->[2])->{headers}{'retry-after'} > 0, 1, 'a bridge that has never reached the database') for [ 'GET', '/flags' ], [ 'GET', '/flags/base' ], [ 'POST', '/evaluate', {} ], [ 'POST', '/evaluate/base', {} ], [ 'POST', '/flags', {} ];
is(api(503, 'GET', '/readyz')->{json}{stale_seconds}, undef, '... is not ready');
api(200, 'GET', '/stream');
$bridge->stop;

is($deviations, 0, "$answers answers and events are as the document has them");
is_deeply([ $api->unseen ], [], '... and whatever it promises has been seen');
done_testing();
