# The bridge on a standby, over its promotion, and through a pooler in transaction mode: where
# notifications don't come, it polls, and nobody who reads a stream sees a difference.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bridge;
use Ff;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = Ff::cluster('primary', 'max_connections = 40');
$primary->safe_psql('postgres', q{INSERT INTO ff.flags (key, type, default_value) VALUES ('f', 'boolean', 'false')});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub change
{
	my ($node) = @_;
	$node->safe_psql('postgres', q{UPDATE ff.flags SET description = clock_timestamp()::text});
	return $node->safe_psql('postgres', 'SELECT max(id) FROM ff.events');
}

sub number { return $_[0]{id} =~ /^(\d+)/ ? $1 : undef }

# ---------- a standby ----------

my $bridge = Bridge->new($standby);
ok($bridge->request('GET', '/readyz')->{json}{polling}, 'on a standby the log is polled');
my $stream = $bridge->stream;
$stream->wait_for(1);
my $head = change($primary);
is(number(($stream->wait_for(2))[1]), $head, 'and what the primary commits arrives');
my $answer = $bridge->request('PATCH', '/flags/f', { owner => 'me' });
is("$answer->{status} $answer->{json}{sqlstate}", '503 25006', 'a write has no one to go to');
is($bridge->request('POST', '/evaluate/f', { context => {} })->{json}{reason}, 'DEFAULT', 'evaluation needs none');

my $both = Bridge->new($standby, options => [ '--write-database', 'host=' . $primary->host . ' port=' . $primary->port . ' dbname=postgres' ]);
$answer = $both->request('PATCH', '/flags/f', { owner => 'me' });
is($answer->{status}, 200, 'with a second connection string writes go to the primary');
like($answer->{headers}{'ff-event-id'}, qr/^\d+-[0-9a-f]{8}$/, 'and say which event they caused');
is($both->request('GET', '/flags/f')->{json}{owner}, 'me', 'which the bridge has seen on the standby when it answers');
$both->stop;

# a bridge that is to find whoever takes writes
my $finding = Bridge->new($primary, database => 'host=' . $standby->host . ',' . $primary->host . ' port=' . $standby->port . ',' . $primary->port .
	  ' dbname=postgres target_session_attrs=read-write');
ok(!$finding->request('GET', '/readyz')->{json}{polling}, 'of several hosts, the one that takes writes is found, and notifies');
my $followed = $finding->stream;
$followed->wait_for(1);

# ---------- its promotion ----------

$head = change($primary);
$stream->wait_for(4);
ok(Bridge::wait_until(sub { $standby->safe_psql('postgres', 'SELECT max(id) FROM ff.events') == $head }), 'the standby has all');
$primary->stop;
$standby->promote;
ok(Bridge::wait_until(sub { !$bridge->request('GET', '/readyz')->{json}{polling} }), 'after its promotion it notifies');
my $after = change($standby);
is(number(($stream->wait_for(5))[4]), $after, 'and the same stream goes on');
is($bridge->request('PATCH', '/flags/f', { owner => 'you' })->{status}, 200, 'writes are taken now');
ok(Bridge::wait_until(sub { grep { number($_) == $after } $followed->data }), 'who looked for a writable server goes on there');
is(scalar(grep { $_->{event} eq 'snapshot' } $followed->data), 1, 'with the events that it missed, and no snapshot');
$_->stop for $bridge, $finding;

# ---------- a failover that loses commits ----------

# the primary, alone, goes on: events of the same numbers, but another history
$bridge = Bridge->new($standby);
$stream = $bridge->stream;
my ($first) = $stream->wait_for(1);
my $id = $first->{id};
$bridge->stop;
$primary->start;
change($primary) for 1 .. 3;
my $other = Bridge->new($primary);
my $resumed = $other->stream('/stream', '-H', "Last-Event-ID: $id");
my ($event) = $resumed->wait_for(1);
is($event->{event}, 'snapshot', 'an id of another history: a snapshot, though the number is in the log');
isnt($event->{id}, $id, 'of the history that is');
$other->stop;

# ---------- a pooler ----------

my $dir = PostgreSQL::Test::Utils::tempdir();
my $port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$dir/users", qq("$ENV{USER}" ""\n)) if $ENV{USER};
my $user = getpwuid($>);
append_to_file("$dir/users", qq("$user" ""\n));
append_to_file("$dir/pgbouncer.ini", join("\n", '[databases]',
	'postgres = host=' . $primary->host . ' port=' . $primary->port . ' dbname=postgres',
	'[pgbouncer]', 'listen_addr =', "listen_port = $port", "unix_socket_dir = $dir", 'auth_type = trust',
	"auth_file = $dir/users", 'pool_mode = transaction', "logfile = $dir/log", "pidfile = $dir/pid",
	'default_pool_size = 3', 'ignore_startup_parameters = extra_float_digits', ''));
my $pooler = IPC::Run::start([ 'pgbouncer', "$dir/pgbouncer.ini" ], '<', \undef, '>', \my $out, '2>', \my $error);
ok(Bridge::wait_until(sub { -S "$dir/.s.PGSQL.$port" }), 'a pooler in transaction mode') or diag($error);
$bridge = Bridge->new($primary, database => "host=$dir port=$port user=$user dbname=postgres");
ok(Bridge::wait_until(sub { $bridge->request('GET', '/readyz')->{json}{polling} }), 'through it no notification comes, and the log is polled');
$stream = $bridge->stream;
$stream->wait_for(1);
$head = change($primary);
is(number(($stream->wait_for(2))[1]), $head, 'events arrive');
is($bridge->request('PATCH', '/flags/f', { owner => 'third' })->{status}, 200, 'writes go through');
is(($stream->wait_for(3))[2]{event}, 'flag_updated', 'and come back as events');
is($bridge->request('GET', '/flags/f/audit?limit=1')->{status}, 200, 'so do questions to the database');
$bridge->stop;
$pooler->kill_kill;

done_testing();
