# test/t/Oracle.pm: random operations over several sessions, each answer of the cache held against
# an evaluation without it.
#
# ff_explain compiles what the statement's snapshot shows and uses nothing of the cache. So the two
# are compared within one statement: whatever the isolation level, the savepoint or the age of the
# cursor, they must agree. Sessions never wait for one another: a lock that is not to be had is an
# error after some milliseconds, and the transaction ends.
package Oracle;

use strict;
use warnings;
use DBI;

our @keys = qw(number top middle bottom rolled listed absent);

# Whether ff_evaluate and ff_explain agree; %s: the key, as an expression; $ctx is in scope as c.
my $agree = q{(SELECT coalesce(e.value, 'null') = x.d -> 'value' AND e.reason = x.d ->> 'reason'
	AND e.variant_key IS NOT DISTINCT FROM x.d ->> 'variant_key'
	AND e.rule_id IS NOT DISTINCT FROM x.d ->> 'rule_id'
	AND e.error_code IS NOT DISTINCT FROM x.d ->> 'error_code'
	FROM ff_evaluate(%1$s, %2$s) e,
		(SELECT detail::jsonb AS d FROM ff_explain(%1$s, %2$s) WHERE stage = 'result') x)};

sub agree { return sprintf($agree, @_); }

sub one_of { return $_[ rand @_ ]; }

sub context
{
	return sprintf(q{'{"user_id": "u%d", "n": %d}'::jsonb}, rand 20, rand 20);
}

# The flags and segments that are played with.
sub set_up
{
	my ($dbh) = @_;
	$dbh->do('CREATE EXTENSION ff');
	$dbh->do(q{INSERT INTO ff.segments (key, included) VALUES ('some', '["u1", "u2"]')});
	$dbh->do(q{INSERT INTO ff.flags (key, type, default_value, rules, rollout, requires) VALUES
		('bottom', 'boolean', 'true', NULL, NULL, NULL),
		('middle', 'boolean', 'false', '[{"id": "in", "if": {"segment": "some"}, "serve": "on"}]', NULL,
			'[{"flag": "bottom", "variant": "on"}]'),
		('top', 'boolean', 'false', '[{"id": "m", "if": {"flag": "middle", "variant": "on"}, "serve": "on"}]',
			NULL, '[{"flag": "bottom", "variant": "on"}]'),
		('rolled', 'boolean', 'false', NULL, '[{"variant": "on", "weight": 50}]', NULL),
		('listed', 'boolean', 'false', '[{"if": {"attr": "n", "op": "in_list", "value": [1, 2]}, "serve": "on"}]',
			NULL, NULL),
		('number', 'number', '0', NULL, NULL, NULL)});

	# changes a flag and looks at it between its own commands
	$dbh->do(q{CREATE FUNCTION change_and_check(value int) RETURNS boolean LANGUAGE plpgsql AS $$
		DECLARE ok boolean;
		BEGIN
			SELECT } . agree(q{'number'}, q{'{}'}) . q{ INTO ok;
			UPDATE ff.flags SET default_value = to_jsonb(value) WHERE key = 'number';
			SELECT ok AND } . agree(q{'number'}, q{'{}'}) . q{ INTO ok;
			BEGIN
				UPDATE ff.flags SET default_value = to_jsonb(-value) WHERE key = 'number';
				SELECT ok AND } . agree(q{'number'}, q{'{}'}) . q{ INTO ok;
				RAISE EXCEPTION 'undo';
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
			RETURN ok AND } . agree(q{'number'}, q{'{}'}) . q{;
		END $$});
	return;
}

# A change of a flag or segment, as SQL.
sub change
{
	my $n = int rand 1_000_000;
	my $switch = one_of('true', 'false');
	my $users = join ', ', map { '"u' . int(rand 20) . '"' } 0 .. rand 5;
	return one_of(
		qq{UPDATE ff.flags SET default_value = '$n' WHERE key = 'number'},
		qq{UPDATE ff.flags SET enabled = $switch WHERE key = 'bottom'},
		qq{UPDATE ff.flags SET default_value = '$switch' WHERE key = 'bottom'},
		qq{UPDATE ff.flags SET enabled = $switch WHERE key IN ('middle', 'rolled')},
		qq{UPDATE ff.segments SET included = '[$users]' WHERE key = 'some'},
		sprintf(q~UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": %d}]' WHERE key = 'rolled'~, $n % 101),
		sprintf(q~UPDATE ff.flags SET rules[0]['if']['value'] = '[%d]' WHERE key = 'listed'~, $n % 20),
		q{UPDATE ff.flags SET state = CASE state WHEN 'active' THEN 'archived' ELSE 'active' END WHERE key = 'listed'},
		qq{INSERT INTO ff.flags (key, type, default_value) VALUES ('number', 'number', '$n')
			ON CONFLICT (key) DO UPDATE SET default_value = EXCLUDED.default_value},
		qq{INSERT INTO ff.flags (key, type, default_value) VALUES ('absent', 'boolean', '$switch')
			ON CONFLICT DO NOTHING});
}

package Oracle::Session;

sub new
{
	my ($class, $dsn, $number) = @_;
	my $dbh = DBI->connect($dsn, undef, undef,
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_server_prepare => 0 });
	$dbh->do(q{SET client_min_messages = error});
	$dbh->do(q{SET lock_timeout = '5ms'});

	# one session keeps next to nothing, so that documents go and come back all the time
	$dbh->do(q{SET ff.cache_size = '256kB'}) if $number == 0;
	my $self = bless { dbh => $dbh, number => $number, history => [], checks => 0, wrong => [] }, $class;
	$self->forget;
	return $self;
}

sub forget
{
	my ($self) = @_;
	@$self{qw(transaction savepoints cursors)} = (0, 0, []);
	return;
}

# Runs a statement; on an error the transaction ends. Returns its first column, or undef.
sub run
{
	my ($self, $sql) = @_;
	push @{ $self->{history} }, $sql;
	shift @{ $self->{history} } if @{ $self->{history} } > 60;
	my $row = eval {
		if ($sql =~ /^(?:SELECT|FETCH|EXECUTE)/) { $self->{dbh}->selectrow_arrayref($sql) }
		else { $self->{dbh}->do($sql); undef }
	};
	if (my $error = $@)
	{
		# what may be refused: a lock, a serialization failure, a reference, a second of its name
		die "$sql: $error" unless $error =~ /lock timeout|could not serialize|deadlock|refers to|others use|already exists/;
		push @{ $self->{history} }, '-- ' . substr($error, 0, 100), 'ROLLBACK';
		$self->{dbh}->do('ROLLBACK') if $self->{transaction};
		$self->forget;
		return;
	}
	return $row && $row->[0];
}

sub check
{
	my ($self, $sql) = @_;
	my $answer = $self->run($sql);
	return unless defined $answer;
	$self->{checks}++;
	push @{ $self->{wrong} }, [ $sql, @{ $self->{history} } ] unless $answer;
	return;
}

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
	$self->run(Oracle::one_of('COMMIT', 'COMMIT', 'ROLLBACK'));
	$self->forget;
	return;
}

# Declares a cursor whose rows are evaluated as they are fetched, under its old snapshot.
sub declare
{
	my ($self) = @_;
	my $name = 'c' . ++$self->{names};
	my $keys = join ', ', map { "'$_'" } @Oracle::keys;
	$self->run("DECLARE $name CURSOR FOR SELECT "
		  . Oracle::agree('k.key', q{jsonb_build_object('user_id', 'u' || g, 'n', g)})
		  . " FROM generate_series(1, 100) g, unnest(ARRAY[$keys]) AS k (key)");
	push @{ $self->{cursors} }, $name if $self->{transaction};
	return;
}

# What a session may do within a transaction, and how often.
sub step_inside
{
	my ($self) = @_;
	my $dice = rand;
	if ($dice < 0.30) { $self->check('SELECT ' . Oracle::agree("'" . Oracle::one_of(@Oracle::keys) . "'", Oracle::context())) }
	elsif ($dice < 0.50 && @{ $self->{cursors} }) { $self->check('FETCH 1 FROM ' . Oracle::one_of(@{ $self->{cursors} })) }
	elsif ($dice < 0.60) { $self->declare }
	elsif ($dice < 0.75) { $self->run(Oracle::change()) }
	elsif ($dice < 0.80) { $self->{savepoints}++; $self->run('SAVEPOINT s') }
	elsif ($dice < 0.85 && $self->{savepoints})
	{
		# cursors that were declared since are gone
		$self->{cursors} = [];
		$self->run('ROLLBACK TO s');
	}
	elsif ($dice < 0.88) { $self->check('EXECUTE checked(' . "'" . Oracle::one_of(@Oracle::keys) . "', " . Oracle::context() . ')') if $self->{prepared} }
	elsif ($dice < 0.90) { $self->check('SELECT change_and_check(' . int(rand 1000) . ')') }
	else { $self->end }
	return;
}

sub step_outside
{
	my ($self) = @_;
	my $dice = rand;
	if ($dice < 0.25) { $self->begin }
	elsif ($dice < 0.55) { $self->run(Oracle::change()) }
	elsif ($dice < 0.80) { $self->check('SELECT ' . Oracle::agree("'" . Oracle::one_of(@Oracle::keys) . "'", Oracle::context())) }
	elsif ($dice < 0.88)
	{
		my $context = Oracle::context();
		$self->check("SELECT bool_and((a.value, a.reason, a.rule_id) IS NOT DISTINCT FROM (e.value, e.reason, e.rule_id)"
			  . " AND " . Oracle::agree('a.flag_key', $context)
			  . ") FROM ff_evaluate_all($context) a, LATERAL ff_evaluate(a.flag_key, $context) e");
	}
	elsif ($dice < 0.95)
	{
		if (!$self->{prepared})
		{
			$self->run('PREPARE checked (text, jsonb) AS SELECT ' . Oracle::agree('$1', '$2'));
			$self->{prepared} = 1;
		}
		$self->check('EXECUTE checked(' . "'" . Oracle::one_of(@Oracle::keys) . "', " . Oracle::context() . ')');
	}
	elsif ($dice < 0.98) { $self->check('SELECT change_and_check(' . int(rand 1000) . ')') }
	else
	{
		$self->run('DISCARD ALL');
		$self->{prepared} = 0;
		$self->run(q{SET lock_timeout = '5ms'});
	}
	return;
}

package Oracle;

# Plays; returns how many checks there were, and those that failed with what had gone before.
sub play
{
	my (%args) = @_;
	srand $args{seed};
	my @sessions = map { Oracle::Session->new($args{dsn}, $_) } 0 .. 4;
	for my $operation (1 .. $args{operations})
	{
		my $session = one_of(@sessions);
		$session->{transaction} ? $session->step_inside : $session->step_outside;
		last if $args{until_wrong} && @{ $session->{wrong} };
	}
	my ($checks, @wrong) = (0);
	for my $session (@sessions)
	{
		$checks += $session->{checks};
		push @wrong, @{ $session->{wrong} };
		$session->{dbh}->do('ROLLBACK') if $session->{transaction};
		$session->{dbh}->disconnect;
	}
	return ($checks, @wrong);
}

1;
