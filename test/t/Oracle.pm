# test/t/Oracle.pm: random operations over several sessions, each answer of the cache held against
# an evaluation without it.
#
# ff_explain compiles what the statement's snapshot shows and uses no cached document. So the two
# are compared within one statement: whatever the isolation level, the savepoint or the age of the
# cursor, they must agree. Sessions take turns, statement by statement: between a commit and its
# invalidation messages there is a moment in which other sessions may see the row and not yet the
# message, as with the catalogs, and a comparison within it would prove nothing. They never wait
# for one another: a lock that is not to be had is an error after some milliseconds.
package Oracle;

use strict;
use warnings;
use DBI;
use List::Util;
use OracleSession;

# Flags that are changed, and flags that are only large, so that a small cache can't hold them all.
our @small = qw(number top middle bottom rolled listed absent);
our @large = map { "large-$_" } 1 .. 14;

# Whether columns of an answer, as a, are what ff_explain says; %1$s: key, %2$s: context. Never null:
# a comparison that comes to nothing would pass for one that was not made.
my $equal = q{(SELECT coalesce(a.value, 'null') IS NOT DISTINCT FROM x.d -> 'value' AND a.reason IS NOT DISTINCT FROM x.d ->> 'reason'
	AND a.variant_key IS NOT DISTINCT FROM x.d ->> 'variant_key'
	AND a.rule_id IS NOT DISTINCT FROM x.d ->> 'rule_id'
	AND a.error_code IS NOT DISTINCT FROM x.d ->> 'error_code'
	FROM (SELECT detail::jsonb AS d FROM ff_explain(%1$s, %2$s) WHERE stage = 'result') x)};

# Whether ff_evaluate and ff_explain agree.
sub agree
{
	my ($key, $context) = @_;
	return sprintf("coalesce((SELECT $equal FROM ff_evaluate(%1\$s, %2\$s) a), false)", $key, $context);
}

# Whether ff_evaluate_all answers for the active flags of the table, for all of them, and for each
# as ff_explain does. Of the large ones, which take their time, one is explained.
sub all_agree
{
	my ($context) = @_;
	my $one = one_of(@large);
	return sprintf(q{(SELECT coalesce(bool_and(coalesce(f.key = a.flag_key AND (f.key ^@ 'large' AND f.key <> '%1$s' OR %2$s), false)), true)
		FROM (SELECT key FROM ff.flags WHERE state = 'active') f
			FULL JOIN ff_evaluate_all(%3$s) a ON f.key = a.flag_key)}, $one, sprintf($equal, 'f.key', $context), $context);
}

sub one_of { return $_[ rand @_ ]; }

sub a_key { return q{'} . (rand() < 0.7 ? one_of(@small) : one_of(@large)) . q{'}; }

sub a_context
{
	return sprintf(q{'{"user_id": "u%d", "n": %d}'::jsonb}, rand 20, rand 20);
}

# The flags and segments that are played with.
sub set_up
{
	my ($dbh) = @_;
	$dbh->do('CREATE EXTENSION ff');

	# this is about caches: the log would have prepared transactions hold its lock, and pending events
	# keep tables from being altered
	$dbh->do("DROP TRIGGER zz_ff_record ON ff.$_") for qw(flags segments);
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
	$dbh->do(q{INSERT INTO ff.flags (key, type, default_value, rules, requires) SELECT k, 'boolean', 'false',
			jsonb_build_array(jsonb_build_object('serve', 'on', 'if', jsonb_build_object('attr', 'user_id',
				'op', 'in_list', 'value', (SELECT jsonb_agg('u' || g) FROM generate_series(1, 1000) g)))),
			'[{"flag": "bottom", "variant": "on"}]'
		FROM unnest(?::text[]) k}, undef, \@large);

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

	# its expressions, and what they keep, live as long as the transaction
	my %typed = (top => 'bool', bottom => 'bool', number => 'number', absent => 'bool');
	$dbh->do('CREATE FUNCTION simple_expressions(context jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
		DECLARE ' . join(' ', map { "a_$_ text;" } sort keys %typed) . '
		BEGIN ' . join(' ', map { "a_$_ := ff_$typed{$_}('$_', context);" } sort keys %typed) . '
			RETURN ' . join(' AND ', map { "a_$_ IS NOT DISTINCT FROM (SELECT (detail::jsonb ->> 'value')"
				. ($typed{$_} eq 'bool' ? '::boolean' : '') . "::text FROM ff_explain('$_', context) WHERE stage = 'result')" }
				sort keys %typed) . ';
		END $$');
	return;
}

# What the triggers don't see. Enabling them again is what tells everybody, so it is one message to
# the server: nobody looks in between.
sub behind_the_triggers
{
	my ($table, $sql) = @_;
	return "ALTER TABLE $table DISABLE TRIGGER USER; $sql; ALTER TABLE $table ENABLE TRIGGER USER";
}

# Rows that go, rows that break, and rows that change and nobody is told. What is deleted here must
# not be upserted in change: to a transaction whose snapshot is older than the deletion, the table
# would have two rows of that key, and which of them counts is anybody's guess.
sub damage
{
	return behind_the_triggers('ff.flags', one_of(
		q{UPDATE ff.flags SET rollout = '[{"variant": "nobody", "weight": 1}]' WHERE key = 'rolled'},
		q{DELETE FROM ff.flags WHERE key = 'number'},
		q{DELETE FROM ff.flags WHERE key = 'middle'},
		sprintf(q{UPDATE ff.flags SET default_value = '%d' WHERE key = 'number'}, rand 1000)));
}

# A change of a flag or segment, as SQL.
sub change
{
	my $n = int rand 1_000_000;
	my $switch = one_of('true', 'false');
	my $large = one_of(@large);
	my $users = join ', ', map { '"u' . int(rand 20) . '"' } 0 .. rand 5;
	return damage() if rand() < 0.03;
	return one_of(
		qq{UPDATE ff.flags SET default_value = '$n' WHERE key = 'number'},
		qq{UPDATE ff.flags SET enabled = $switch WHERE key = 'bottom'},
		qq{UPDATE ff.flags SET default_value = '$switch' WHERE key = 'bottom'},
		qq{UPDATE ff.flags SET enabled = $switch WHERE key IN ('middle', '$large')},
		qq{INSERT INTO ff.segments (key, included) VALUES ('some', '[$users]')
			ON CONFLICT (key) DO UPDATE SET included = EXCLUDED.included},
		sprintf(q~UPDATE ff.flags SET rollout = '[{"variant": "on", "weight": %d}]' WHERE key = 'rolled'~, $n % 101),
		sprintf(q~UPDATE ff.flags SET rules[0]['if']['value'] = '[%d]' WHERE key = 'listed'~, $n % 20),
		q{UPDATE ff.flags SET state = CASE state WHEN 'active' THEN 'archived' ELSE 'active' END WHERE key = 'listed'},
		qq{INSERT INTO ff.flags (key, type, default_value) SELECT 'number', 'number', '$n'
			WHERE NOT EXISTS (SELECT FROM ff.flags WHERE key = 'number')},
		qq{INSERT INTO ff.flags (key, type, default_value, requires) SELECT 'middle', 'boolean', '$switch',
			'[{"flag": "bottom", "variant": "on"}]' WHERE NOT EXISTS (SELECT FROM ff.flags WHERE key = 'middle')},
		q{UPDATE ff.flags SET requires = CASE WHEN requires IS NULL THEN '[{"flag": "bottom", "variant": "on"}]'::jsonb END
			WHERE key = 'middle'},
		qq{INSERT INTO ff.flags (key, type, default_value) VALUES ('absent', 'boolean', '$switch')
			ON CONFLICT (key) DO UPDATE SET default_value = EXCLUDED.default_value});
}

# What an administrator does, outside of transactions.
sub maintenance
{
	return one_of('VACUUM FULL ff.flags', 'VACUUM (FREEZE) ff.flags', 'ANALYZE ff.flags', 'REINDEX TABLE ff.flags',
		'GRANT SELECT ON ff.flags TO PUBLIC',
		behind_the_triggers('ff.segments', 'CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE ff.segments;'
			  . ' TRUNCATE ff.segments; INSERT INTO ff.segments TABLE kept'));
}

# Ends the transactions of all sessions but one, whose snapshot may be old, for what can't be done
# while others write.
sub quiet_moment
{
	my ($stays, @others) = List::Util::shuffle(@_);
	$_->end for grep { $_->{transaction} } @others;
	$others[0]->end_all_prepared;
	$others[0]->run(one_of(damage(), maintenance()));
	return;
}

# Plays. Returns how many checks there were and what the cache dropped, and the checks that failed,
# each with what had gone before.
sub play
{
	my (%args) = @_;
	srand $args{seed};
	my @history;
	my @sessions = map { Oracle::Session->new($args{dsn}, $_, \@history) } 0 .. 4;
	for my $operation (1 .. $args{operations})
	{
		my $session = one_of(@sessions);
		$_->{operation} = $operation for @sessions;
		rand() < 0.01 ? quiet_moment(@sessions) : $session->step;
		last if $args{until_wrong} && @{ $session->{wrong} };
	}
	my %played = (checks => 0, evictions => 0, wrong => [], kinds => {});
	$_->{dbh}->do('ROLLBACK') for grep { $_->{transaction} } @sessions;
	$sessions[0]->end_all_prepared;
	for my $session (@sessions)
	{
		$played{checks} += $session->{checks};
		$played{evictions} += $session->{dbh}->selectrow_array('SELECT evictions FROM ff_cache_info()');
		$played{kinds}{$_} += $session->{kinds}{$_} for keys %{ $session->{kinds} };
		push @{ $played{wrong} }, @{ $session->{wrong} };
		$session->{dbh}->disconnect;
	}
	return \%played;
}

1;
