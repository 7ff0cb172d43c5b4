# test/t/OracleSession.pm: one of the sessions that play in Oracle.pm.
package Oracle::Session;

use strict;
use warnings;
use DBI;

# Statements, of all sessions, that are told when a check fails.
my $remembered = 150;

# What may be refused: a lock, a serialization failure, a reference, a second of its name, the
# update of a damaged definition, DDL under an open cursor, a cursor that was refused a lock before.
my $refused = qr/lock timeout|could not serialize|deadlock|refers to|others use|duplicate key|is not valid|active queries|concurrently updated|cannot be run/;

# Transactions that were prepared and wait for any session to end them.
my @prepared_transactions;
my $prepared_names = 0;

sub new
{
	my ($class, $dsn, $number, $history) = @_;
	my $dbh = DBI->connect($dsn, undef, undef,
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_server_prepare => 0 });
	my $self = bless { dbh => $dbh, number => $number, history => $history, checks => 0, wrong => [],
		kinds => {}, operation => 0 }, $class;
	$self->begin_anew;
	return $self;
}

# As after connecting.
sub begin_anew
{
	my ($self) = @_;
	$self->{dbh}->do(q{SET client_min_messages = error; SET lock_timeout = '5ms'});

	# one session keeps next to nothing, so that documents go and come back all the time
	$self->{dbh}->do(q{SET ff.cache_size = '256kB'}) if $self->{number} == 0;
	$self->{prepared} = 0;
	$self->forget;
	return;
}

# No transaction: no cursors, no savepoints. Each savepoint knows how many cursors there were.
sub forget
{
	my ($self) = @_;
	@$self{qw(transaction savepoints cursors)} = (0, [], []);
	return;
}

# On one line, without the comparison itself.
sub remember
{
	my ($self, $what) = @_;
	$what =~ s/\s+/ /g;
	$what =~ s/\(SELECT coalesce\(a\.value.*?FROM ff_explain.*?'result'\) x\)/agrees/g;
	push @{ $self->{history} }, "$self->{operation}, session $self->{number}: $what";
	shift @{ $self->{history} } if @{ $self->{history} } > $remembered;
	return;
}

# Runs a statement. On an error the transaction goes back to its savepoint, or ends. Returns the
# first column of the first row, or undef.
sub run
{
	my ($self, $sql) = @_;
	$self->remember($sql);
	my $row = eval {
		if ($sql =~ /^(?:SELECT|FETCH|EXECUTE)/) { $self->{dbh}->selectrow_arrayref($sql) }
		else { $self->{dbh}->do($sql); undef }
	};
	return $row && $row->[0] unless $@;
	die "$sql: $@" unless $@ =~ $refused;
	$self->remember("refused: $@" =~ s/\n.*//sr);
	if (@{ $self->{savepoints} } && rand() < 0.5) { $self->back_to_savepoint }
	elsif ($self->{transaction}) { $self->forget; $self->run('ROLLBACK') }
	return;
}

# Runs a statement that answers whether cached and uncached evaluation agree.
sub check
{
	my ($self, $kind, $sql) = @_;
	my $answer = $self->run($sql);
	return unless defined $answer;
	$self->{checks}++;
	$self->{kinds}{$kind}++;
	push @{ $self->{wrong} }, [ @{ $self->{history} } ] unless $answer;
	return;
}

# ---------- what a session does ----------

sub begin
{
	my ($self) = @_;
	$self->run('BEGIN ISOLATION LEVEL '
		  . Oracle::one_of('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'));
	$self->{transaction} = 1;
	return;
}

sub end
{
	my ($self) = @_;
	$self->{savepoints} = [];    # a commit that is refused ends the transaction all the same
	if (rand() < 0.15 && @prepared_transactions < 3)
	{
		my $name = 'p' . ++$prepared_names;
		$self->run("PREPARE TRANSACTION '$name'");
		# unless it was refused, and rolled back
		push @prepared_transactions, $name if $self->{transaction};
	}
	else { $self->run(Oracle::one_of('COMMIT', 'COMMIT', 'ROLLBACK')) }
	$self->forget;
	return;
}

sub end_prepared
{
	my ($self) = @_;
	my $name = shift @prepared_transactions;
	$self->run(Oracle::one_of('COMMIT', 'ROLLBACK') . " PREPARED '$name'") if defined $name;
	return;
}

# Ends what other sessions of a database would wait for.
sub end_all_prepared
{
	my ($self) = @_;
	$self->end_prepared while @prepared_transactions;
	return;
}

sub savepoint
{
	my ($self) = @_;
	$self->run('SAVEPOINT s');
	push @{ $self->{savepoints} }, scalar @{ $self->{cursors} };
	return;
}

# Cursors that were declared since are gone; older ones go on.
sub back_to_savepoint
{
	my ($self) = @_;
	$self->run('ROLLBACK TO s');
	$#{ $self->{cursors} } = $self->{savepoints}[-1] - 1;
	return;
}

sub release
{
	my ($self) = @_;
	$self->run('RELEASE s');
	pop @{ $self->{savepoints} };
	return;
}

# Declares a cursor whose rows are evaluated as they are fetched, under its old snapshot: of many
# keys; of one, which is a constant; of all flags.
sub declare
{
	my ($self) = @_;
	my $name = 'c' . ++$self->{names};
	my $context = q{jsonb_build_object('user_id', 'u' || g, 'n', g)};
	my $keys = join ', ', map { "'$_'" } @Oracle::small, Oracle::one_of(@Oracle::large);
	my $query = Oracle::one_of(
		'SELECT ' . Oracle::agree('k.key', $context) . " FROM generate_series(1, 100) g, unnest(ARRAY[$keys]) AS k (key)",
		'SELECT ' . Oracle::agree(Oracle::a_key(), $context) . ' FROM generate_series(1, 100) g',
		'SELECT ' . Oracle::all_agree($context) . ' FROM generate_series(1, 100) g');
	$self->run("DECLARE $name CURSOR FOR $query");
	push @{ $self->{cursors} }, $name if $self->{transaction};
	return;
}

sub check_one { my ($self) = @_; return $self->check('statement', 'SELECT ' . Oracle::agree(Oracle::a_key(), Oracle::a_context())); }

sub check_all { my ($self) = @_; return $self->check('all flags', 'SELECT ' . Oracle::all_agree(Oracle::a_context())); }

sub check_fetched { my ($self) = @_; return $self->check('cursor', 'FETCH 1 FROM ' . Oracle::one_of(@{ $self->{cursors} })); }

sub check_expressions { my ($self) = @_; return $self->check('expressions', 'SELECT simple_expressions(' . Oracle::a_context() . ')'); }

sub check_changing { my ($self) = @_; return $self->check('function', 'SELECT change_and_check(' . int(rand 1000) . ')'); }

sub check_prepared
{
	my ($self) = @_;
	if (!$self->{prepared})
	{
		$self->run('PREPARE checked (text, jsonb) AS SELECT ' . Oracle::agree('$1', '$2'));
		$self->{prepared} = 1;
	}
	return $self->check('prepared statement', 'EXECUTE checked(' . Oracle::a_key() . ', ' . Oracle::a_context() . ')');
}

# ---------- how often ----------

sub step_inside
{
	my ($self) = @_;
	my $dice = rand;
	if ($dice < 0.22) { $self->check_one }
	elsif ($dice < 0.25) { $self->check_all }
	elsif ($dice < 0.45 && @{ $self->{cursors} }) { $self->check_fetched }
	elsif ($dice < 0.55) { $self->declare }
	elsif ($dice < 0.70) { $self->run(Oracle::change()) }
	elsif ($dice < 0.76) { $self->savepoint }
	elsif ($dice < 0.81 && @{ $self->{savepoints} }) { $self->back_to_savepoint }
	elsif ($dice < 0.83 && @{ $self->{savepoints} }) { $self->release }
	elsif ($dice < 0.86 && $self->{prepared}) { $self->check_prepared }
	elsif ($dice < 0.88) { $self->check_expressions }
	elsif ($dice < 0.90) { $self->check_changing }
	else { $self->end }
	return;
}

sub step_outside
{
	my ($self) = @_;
	my $dice = rand;
	if ($dice < 0.30) { $self->begin }
	elsif ($dice < 0.53) { $self->run(Oracle::change()) }
	elsif ($dice < 0.70) { $self->check_one }
	elsif ($dice < 0.76) { $self->check_all }
	elsif ($dice < 0.84) { $self->check_prepared }
	elsif ($dice < 0.88) { $self->check_expressions }
	elsif ($dice < 0.91) { $self->check_changing }
	elsif ($dice < 0.92) { $self->run(Oracle::maintenance()) }
	elsif ($dice < 0.98) { $self->end_prepared }
	else { $self->run('DISCARD ALL'); $self->begin_anew }
	return;
}

sub step
{
	my ($self) = @_;
	return $self->{transaction} ? $self->step_inside : $self->step_outside;
}

1;
