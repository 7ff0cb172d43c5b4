# The event log under everything that can happen to a writer: whoever polls it by number ends with
# exactly the committed changes, in the order of commits, none twice.

use strict;
use warnings;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $seed = $ENV{FF_EVENTS_SEED} || (time ^ $$) % 1_000_000;
my $transactions = $ENV{FF_EVENTS_TRANSACTIONS} || 40;
my $writers = 16;
note("FF_EVENTS_SEED=$seed");

my $node = Ff::cluster('events', 'max_connections = 50', 'deadlock_timeout = 20ms', 'autovacuum_naptime = 1s',
	q{listen_addresses = '127.0.0.1'}, 'wal_writer_delay = 10s');
my $folder = PostgreSQL::Test::Utils::tempdir();
my $main = Ff::session($node);
my @flags = map { "f$_" } 1 .. 20;
my @segments = map { "s$_" } 1 .. 4;

sub pick { return $_[ rand @_ ]; }

# A process that has nothing of ours: it exits without our END blocks, and a failure is its status.
sub child
{
	my ($name, $code, @arguments) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	$main->{InactiveDestroy} = 1;
	my $done = eval { $code->(@arguments); 1 };
	print STDERR "$name: $@" if !$done;
	POSIX::_exit($done ? 0 : 1);
}

sub joined { my ($pid) = @_; waitpid $pid, 0; return $?; }

# ---------- writers ----------

sub describe { my ($session, $table, $key, $comment) = @_; return $session->do("UPDATE $table SET description = ? WHERE key = ?", undef, $comment, $key); }
sub turn { my ($session, $key) = @_; return $session->do('UPDATE ff.flags SET enabled = NOT enabled WHERE key = ?', undef, $key); }
sub state_to { my ($session, $table, $key, $from, $to) = @_; return $session->do("UPDATE $table SET state = ? WHERE key = ? AND state = ?", undef, $to, $key, $from); }
sub called { my ($session, @call) = @_; $session->selectall_arrayref($call[0], undef, @call[1 .. $#call]); return 1; }

# Each returns how many changes it made, and may raise an error.
my %changes = (
	describe => sub { my ($session, $comment) = @_; return describe($session, 'ff.flags', pick(@flags), $comment); },
	patch => sub { my ($session, $comment) = @_; return called($session, 'SELECT ff_update_flag(?, jsonb_build_object(?::text, ?::text))', pick(@flags), 'description', $comment); },
	turn => sub { return turn($_[0], pick(@flags)); },
	archive => sub { return state_to($_[0], 'ff.flags', pick(@flags), 'active', 'archived'); },
	restore => sub { return state_to($_[0], 'ff.flags', pick(@flags), 'archived', 'active'); },
	purge => sub { return called($_[0], 'SELECT ff_purge_flag(?)', pick(@flags)); },
	insert => sub { my ($session, $comment) = @_; return $session->do(q{INSERT INTO ff.flags (key, type, default_value, description) VALUES (?, 'boolean', 'true', ?)}, undef, pick(@flags), $comment); },
	create => sub { my ($session, $comment) = @_; return called($session, q{SELECT ff_create_flag(jsonb_build_object('key', ?::text, 'type', 'boolean', 'default_value', true, 'description', ?::text))}, pick(@flags), $comment); },
	keep => sub { my ($session, $comment) = @_; return $session->do(q{INSERT INTO ff.flags (key, type, default_value, description) VALUES (?, 'boolean', 'true', ?) ON CONFLICT DO NOTHING}, undef, pick(@flags), $comment); },
	upsert => sub { my ($session, $comment) = @_; return $session->do(q{INSERT INTO ff.flags (key, type, default_value, description) VALUES (?, 'boolean', 'true', ?) ON CONFLICT (key) DO UPDATE SET description = EXCLUDED.description}, undef, pick(@flags), $comment); },
	require => sub { return $_[0]->do(q{UPDATE ff.flags SET requires = jsonb_build_array(jsonb_build_object('flag', ?::text, 'variant', 'on')) WHERE key = ? AND requires IS NULL}, undef, pick(@flags), pick(@flags)); },
	release => sub { return $_[0]->do('UPDATE ff.flags SET requires = NULL WHERE key = ? AND requires IS NOT NULL', undef, pick(@flags)); },
	segment => sub { my ($session, $comment) = @_; return describe($session, 'ff.segments', pick(@segments), $comment); },
	segment_archive => sub { return state_to($_[0], 'ff.segments', pick(@segments), 'active', 'archived'); },
	segment_restore => sub { return state_to($_[0], 'ff.segments', pick(@segments), 'archived', 'active'); },
	segment_purge => sub { return called($_[0], 'SELECT ff_purge_segment(?)', pick(@segments)); },
	segment_create => sub { my ($session, $comment) = @_; return $session->do(q{INSERT INTO ff.segments (key, included, description) VALUES (?, '["u"]', ?)}, undef, pick(@segments), $comment); });
my @names = sort keys %changes;

# A transaction under way: its session, the comments of what it changed, the number of the next one.
# Runs one change under a comment of its own.
sub change
{
	my ($work, $code) = @_;
	my $comment = "$work->{name}." . ++$work->{number};
	$work->{session}->selectall_arrayref(q{SELECT set_config('ff.comment', ?, true)}, undef, $comment);
	push @{ $work->{comments} }, $comment if $code->($work->{session}, $comment) > 0;
	return;
}

# What may fail is tried in a savepoint, or fails the transaction.
sub try_change
{
	my ($work, $code) = @_;
	return change($work, $code) if rand() < 0.3;
	my @before = @{ $work->{comments} };
	$work->{session}->do('SAVEPOINT s');
	my $made = eval { change($work, $code); 1 };
	die $@ if !$made && !$work->{session}->ping;
	if (!$made || rand() < 0.2)
	{
		$work->{session}->do('ROLLBACK TO s');
		$work->{comments} = \@before;
	}
	$work->{session}->do('RELEASE s') if rand() < 0.5;
	return;
}

my @kinds = (
	# several rows, in any order
	(sub { my ($work) = @_; try_change($work, $changes{ pick(@names) }) for 1 .. 1 + rand 5; return; }) x 6,
	# one row several times
	sub { my ($work) = @_; my $key = pick(@flags); change($work, sub { describe($_[0], 'ff.flags', $key, $_[1]) }) for 1 .. 2 + rand 3; return; },
	# a then b, where others do b then a
	(sub { my ($work) = @_; for my $key (pick([ 'f1', 'f2' ], [ 'f2', 'f1' ])->@*) { change($work, sub { turn($_[0], $key) }) } return; }) x 2,
	# a key that ends and begins again in one transaction
	sub {
		my ($work) = @_;
		my $key = pick(@flags);
		change($work, sub { state_to($_[0], 'ff.flags', $key, 'active', 'archived') });
		change($work, sub { called($_[0], 'SELECT ff_purge_flag(?)', $key) });
		change($work, sub { $_[0]->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES (?, 'boolean', 'true')}, undef, $key) });
		change($work, sub { turn($_[0], $key) });
		return;
	},
	# the log is written before the end, and that is taken back
	sub {
		my ($work) = @_;
		try_change($work, $changes{ pick(@names) });
		$work->{session}->do('SAVEPOINT early');
		my @before = @{ $work->{comments} };
		try_change($work, $changes{ pick(@names) });
		$work->{session}->do('SET CONSTRAINTS ALL IMMEDIATE');
		if (rand() < 0.6)
		{
			$work->{session}->do('ROLLBACK TO early');
			$work->{comments} = \@before;
		}
		$work->{session}->do('SET CONSTRAINTS ALL DEFERRED');
		try_change($work, $changes{ pick(@names) });
		return;
	});

sub connected
{
	my $session = Ff::session($node);
	$session->do(q{SET application_name = 'writer'});
	return $session;
}

sub transaction
{
	my ($work) = @_;
	my $session = $work->{session};
	$work->{comments} = [];
	$session->do('BEGIN ISOLATION LEVEL ' . pick(('READ COMMITTED') x 8, 'REPEATABLE READ', 'SERIALIZABLE'));
	pick(@kinds)->($work);
	$session->do('INSERT INTO journal (comments) VALUES (?)', undef, $work->{comments}) if @{ $work->{comments} };
	$session->do(rand() < 0.15 ? 'ROLLBACK' : 'COMMIT');
	return;
}

# What came of transactions by SQLSTATE goes to a file: that the test tested something is tested, too.
sub write_much
{
	my ($name) = @_;
	srand $seed * 100 + $name;
	my $work = { name => $name, number => 0 };
	my %ends;
	for (1 .. $transactions)
	{
		# connecting fails, too, when it is in time for the killer
		my $ended = eval { $work->{session} //= connected(); transaction($work); 1 };
		$ends{ $ended ? 'ok' : ($work->{session} && $work->{session}->state) || 'unknown' }++;
		next if $ended;
		if ($work->{session} && $work->{session}->ping)
		{
			eval { $work->{session}->do('ROLLBACK') };
		}
		else
		{
			$work->{session} = undef;
		}
	}
	PostgreSQL::Test::Utils::append_to_file("$folder/ends.$name", join('', map { "$_ $ends{$_}\n" } sort keys %ends));
	return;
}

sub read_much
{
	my $session = Ff::session($node);
	my $last = 0;
	my $over = 0;
	open my $seen, '>', "$folder/seen" or die;
	while (!$over)
	{
		$over = -e "$folder/over";
		for my $row (@{ $session->selectall_arrayref(q{SELECT id, coalesce(comment, ''), encode(hash, 'hex') FROM ff.events WHERE id > ? ORDER BY id}, undef, $last) })
		{
			print $seen join(' ', @$row) . "\n";
			$last = $row->[0];
		}
	}
	close $seen or die;
	return;
}

sub kill_much
{
	my $session = Ff::session($node);
	srand $seed;
	while (!-e "$folder/over")
	{
		$session->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'writer' ORDER BY random() LIMIT 1});
		$session->do('SELECT pg_sleep(?)', undef, 0.02 + rand 0.1);
	}
	return;
}

$main->do('CREATE TABLE journal (id bigserial, comments text[])');
$main->do(q{SELECT set_config('ff.comment', 'start', false)});
$main->do(q{INSERT INTO ff.flags (key, type, default_value) SELECT unnest(?::text[]), 'boolean', 'true'}, undef, [ @flags[ 0 .. 14 ] ]);
$main->do(q{INSERT INTO ff.segments (key, included) VALUES ('s1', '["u"]'), ('s2', '["u"]')});
$main->do('RESET ff.comment');

my $reader = child('reader', \&read_much);
my $killer = child('killer', \&kill_much);
my @pids = map { child("writer $_", \&write_much, $_) } 1 .. $writers;
is(scalar(grep { joined($_) } @pids), 0, 'writers end');
PostgreSQL::Test::Utils::append_to_file("$folder/over", '');
is(joined($reader), 0, 'the reader ends');
is(joined($killer), 0, 'the killer ends');

my %ends;
for my $name (1 .. $writers)
{
	for (split /\n/, PostgreSQL::Test::Utils::slurp_file("$folder/ends.$name")) { my ($state, $count) = split; $ends{$state} += $count; }
}
note(join ', ', map { "$_: $ends{$_}" } sort keys %ends);
cmp_ok($ends{ok} // 0, '>', $writers, 'transactions that went well');
cmp_ok($ends{'40P01'} // 0, '>', 0, 'deadlocks');
cmp_ok(($ends{'57P01'} // 0) + ($ends{'08000'} // 0), '>', 0, 'killed backends');

my $events = $main->selectall_arrayref(q{SELECT id, coalesce(comment, '') AS comment, encode(hash, 'hex') AS hash, object || ' ' || key AS key,
	action, version, old_value::text AS before, new_value::text AS after FROM ff.events ORDER BY id}, { Slice => {} });
note(scalar(@$events) . ' events');

# is_deeply and is would print all of two long lists
sub same { my ($got, $expected, $name) = @_;
	my ($i) = grep { ($got->[$_] // '') ne ($expected->[$_] // '') } 0 .. ($#$got > $#$expected ? $#$got : $#$expected);
	return ok(!defined $i, $name) || diag("at $i: got '" . ($got->[$i] // 'nothing') . "', expected '" . ($expected->[$i] // 'nothing') . q{'}); }

same([ map { $_->{id} } @$events ], [ 1 .. @$events ], 'numbers without a gap');
same([ split /\n/, PostgreSQL::Test::Utils::slurp_file("$folder/seen") ], [ map { "$_->{id} $_->{comment} $_->{hash}" } @$events ], 'the reader saw each event once, in order');

# the journal's transactions come in any order: each one's first comment finds it
my %journal = map { $_->[0][0] => $_->[0] } @{ $main->selectall_arrayref('SELECT comments FROM journal') };
my @expected = ('start') x 17;
my @comments = map { $_->{comment} } @$events;
for (my $i = @expected; $i < @comments && $journal{ $comments[$i] }; $i = @expected) { push @expected, @{ delete $journal{ $comments[$i] } }; }
same(\@comments, \@expected, 'events are the changes that were committed, transaction by transaction');
is(scalar(keys %journal), 0, 'all of them') or diag(join ' ', sort keys %journal);

my (%last, @wrong);
for my $event (@$events)
{
	my $before = $last{ $event->{key} };
	my $gone = !$before || $before->{action} eq 'purged';
	my $version = ($before ? $before->{version} : 0) + ($event->{action} eq 'purged' ? 0 : 1);
	push @wrong, "$event->{id}: $event->{key} $event->{action} has version $event->{version} instead of $version" if $event->{version} != $version;
	push @wrong, "$event->{id}: $event->{key} $event->{action} after " . ($before ? $before->{action} : 'nothing') if ($event->{action} eq 'created') != $gone;
	push @wrong, "$event->{id}: $event->{key} was something else before" if ($event->{before} // '') ne ($before && $before->{after} // '');
	$last{ $event->{key} } = $event;
}
is(join("\n", @wrong), '', 'each event continues the one before it');
is_deeply([ sort map { "$last{$_}{key} $last{$_}{after}" } grep { defined $last{$_}{after} } sort keys %last ],
	[ sort map { $_->[0] } @{ $main->selectall_arrayref(q{SELECT 'flag ' || key || ' ' || ff_flag(key)::text FROM ff.flags UNION ALL SELECT 'segment ' || key || ' ' || ff_segment(key)::text FROM ff.segments }) } ],
	'and the last ones are what the tables hold');
is(join(' ', map { $_ // '-' } $main->selectrow_array('SELECT valid, events, event_id, problem FROM ff_verify_events()')), '1 ' . @$events . ' - -', 'the chain is whole');

# ---------- a log written before the end of the transaction ----------

my $newest = q{SELECT string_agg(key || ' ' || action || ' ' || version || ' ' || coalesce(comment, '-'), ', ' ORDER BY id) FROM ff.events WHERE id > };
my $top;
sub mark { $top = Ff::value($main, 'SELECT max(id) FROM ff.events'); return; }
sub news { return Ff::value($main, $newest . $top); }

mark();
$main->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('n', 'number', '1'), ('m', 'number', '1')});
is(news(), 'n created 1 -, m created 1 -', 'two flags');
mark();
$main->do(q{BEGIN; SET ff.comment = 'first'; UPDATE ff.flags SET default_value = '2' WHERE key = 'n'; SAVEPOINT s;
	SET CONSTRAINTS ALL IMMEDIATE});
is(news(), 'n updated 2 first', 'SET CONSTRAINTS writes the log');
$main->do(q{ROLLBACK TO s; SET ff.comment = 'second'; UPDATE ff.flags SET default_value = '3' WHERE key = 'n'; COMMIT});
is(news(), 'n updated 2 first, n updated 3 second', 'what is taken back of it is written at commit');
mark();
$main->do(q{BEGIN; UPDATE ff.flags SET state = 'archived' WHERE key = 'n'; SELECT ff_purge_flag('n');
	INSERT INTO ff.flags (key, type, default_value) VALUES ('n', 'number', '1'); COMMIT});
is(news(), 'n archived 4 second, n purged 4 second, n created 5 second', 'versions go on within a transaction');
$main->do('RESET ff.comment');

# an insert that waits for the end of the one before it has a version from before that
my $other = Ff::session($node);
mark();
$main->do(q{BEGIN; UPDATE ff.flags SET state = 'archived' WHERE key = 'm'; SELECT ff_purge_flag('m')});
$other->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('m', 'number', '2')}, { pg_async => 1 });
$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM pg_locks WHERE NOT granted') or die 'nobody waits';
$main->do('COMMIT');
eval { $other->pg_result };
is($other->state, '40001', 'a version that was used meanwhile');
is(news(), 'm archived 2 -, m purged 2 -', 'is not used again');
mark();
$other->do(q{INSERT INTO ff.flags (key, type, default_value) VALUES ('m', 'number', '2')});
is(news(), 'm created 3 -', 'tried again');

# ---------- who, why, and where from ----------

my $last_event = 'SELECT actor, session_role, comment, application_name, host(client_address) FROM ff.events ORDER BY id DESC LIMIT 1';
sub words { return join ' ', map { $_ // '-' } @_; }
my $user = Ff::value($main, 'SELECT session_user');
$main->do(q{CREATE FUNCTION touch(text) RETURNS void LANGUAGE sql SET ff.actor = 'robot' SET ff.comment = 'by night' AS $$
	UPDATE ff.flags SET description = concat(description, 'x') WHERE key = $1 $$});
mark();
$main->do(q{BEGIN; SET LOCAL ff.actor = 'ada'; SET LOCAL ff.comment = 'one'; UPDATE ff.flags SET default_value = '7' WHERE key = 'n';
	SELECT touch('n'); SET LOCAL ff.actor = 'ben'; SET LOCAL ff.comment = ''; UPDATE ff.flags SET default_value = '8' WHERE key = 'n';
	SET LOCAL ff.actor = ''; UPDATE ff.flags SET default_value = '9' WHERE key = 'n'; SET LOCAL ff.actor = 'late'; COMMIT});
is(Ff::value($main, "SELECT string_agg(actor || ' ' || coalesce(comment, '-'), ', ' ORDER BY id) FROM ff.events WHERE id > $top"),
	"ada one, robot by night, ben -, $user -", 'actor and comment are those of the statement');
$main->do('CREATE ROLE editor SUPERUSER');
$main->do(q{SET application_name = 'tool'; SET ROLE editor; SELECT touch('n'); RESET ROLE});
is(words($main->selectrow_array($last_event)), "robot $user by night tool -", 'who connected, with what, over a socket');
my $remote = DBI->connect('dbi:Pg:host=127.0.0.1;port=' . $node->port . ';dbname=postgres', $user, undef, { RaiseError => 1, PrintError => 0 });
$remote->do(q{SELECT touch('n')});
is(words($remote->selectrow_array($last_event)), "robot $user by night " . (Ff::value($remote, 'SHOW application_name') || '-') . ' 127.0.0.1', 'over TCP');
$remote->disconnect;

# ---------- wake-ups ----------

my $listener = Ff::session($node);
$main->do(q{SELECT ff_create_namespace('shop')});
$listener->do('LISTEN ff_default; LISTEN ff_shop');

# What came for the listener, whose statement fetches it: a commit that has returned has notified.
sub notified
{
	my @all;
	$listener->do('SELECT 1');
	while (my $notice = $listener->pg_notifies) { push @all, "$notice->[0] '$notice->[2]'"; }
	return join ', ', sort @all;
}

is(notified(), '', 'nothing was changed');
$main->do(q{BEGIN; SELECT touch('n'); SELECT touch('n'); SELECT touch('m'); UPDATE ff.segments SET description = 'x';
	INSERT INTO ff.shop_flags (key, type, default_value) VALUES ('a', 'number', '1'), ('b', 'number', '1'); COMMIT});
is(notified(), q{ff_default '', ff_shop ''}, 'once for each namespace');
$main->do(q{BEGIN; SELECT touch('n'); ROLLBACK});
$main->do(q{UPDATE ff.flags SET key = key});
is(notified(), '', 'neither what was rolled back nor what changed nothing');
$main->do(q{SELECT touch('n')});
is(notified(), q{ff_default ''}, 'one namespace');
$main->do('BEGIN');
$main->do(q{SELECT touch('n')});
eval { $main->do(q{PREPARE TRANSACTION 'p'}) };
like($@, qr/cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/, 'who notifies cannot prepare');
$main->do('ROLLBACK');
$main->do('SET ff.notify = off');
$main->do(q{SELECT touch('n')});
is(notified(), '', 'ff.notify = off');
mark();
$main->do('BEGIN');
$main->do(q{SELECT touch('n')});
$main->do(q{PREPARE TRANSACTION 'p'});
is(news(), undef, 'a prepared transaction has no events yet');
$main->do(q{COMMIT PREPARED 'p'});
like(news(), qr/^n updated \d+ by night$/, 'and has them when it is committed');
is(notified(), '', 'and notifies nobody');
$main->do('RESET ff.notify');

# ---------- a crash ----------

$main->do(q{SET synchronous_commit = off; SELECT touch('n')});
my $before = words($main->selectrow_array('SELECT max(id), count(*) FROM ff.events'));
$node->stop('immediate');
$node->start;
$main = Ff::session($node);
is(words($main->selectrow_array('SELECT max(id), count(*) FROM ff.events')), $before, 'what was committed outlives a crash');
is(Ff::value($main, 'SELECT valid FROM ff_verify_events()'), 1, 'the chain is whole after it');
mark();
$main->do(q{SELECT touch('n')});
is(Ff::value($main, 'SELECT max(id) FROM ff.events'), $top + 1, 'and goes on');

$_->disconnect for $main, $other, $listener;
$node->stop;
done_testing();
