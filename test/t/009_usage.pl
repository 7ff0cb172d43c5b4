# When flags were last evaluated, over restarts and crashes, and what is stale because of it.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('usage', q{shared_preload_libraries = 'ff'}, 'ff.max_tracked_flags = 100', 'restart_after_crash = on');
my $known = q{SELECT string_agg(key, ' ' ORDER BY key COLLATE "C") FROM ff.flags WHERE ff_last_evaluated(key) IS NOT NULL};
my $unused = q{SET ff.stale_after = 0; SELECT string_agg(flag_key, ' ') FROM ff.stale_flags WHERE reason = 'not evaluated'};
my $never = q{SET ff.stale_after = '1h'; SELECT count(*) FROM ff.stale_flags WHERE reason = 'not evaluated'};

sub ask { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }

ask(q{INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('asked', 'boolean', 'true', NULL),
	('base', 'boolean', 'true', NULL), ('idle', 'boolean', 'true', NULL), ('on-base', 'boolean', 'true', '[{"flag": "base", "variant": "on"}]')});
is(ask($known), '', 'nothing was evaluated yet');
ask(q{SELECT ff_bool('asked'), ff_bool('on-base'), ff_explain('idle')});
is(ask($known), 'asked base on-base', 'evaluated flags, and what they depend on; an explanation counts for nothing');
is(ask(q{SELECT ff_last_evaluated('asked') BETWEEN now() - interval '1 hour' AND clock_timestamp()}), 't', 'when that was');
is(ask(q{SELECT ff_last_evaluated('asked', 'elsewhere') IS NULL AND ff_last_evaluated(NULL) IS NULL}), 't', 'not of another namespace');
is(ask($unused), 'asked base idle on-base', 'all are stale when no time is allowed');
is(ask($never), '0', 'none is, before the time has passed since counting began');
is(ask(q{UPDATE ff.flags SET state = 'archived' WHERE key = 'idle'; } . $unused), 'asked base on-base', 'an archived flag is not stale');
ask(q{UPDATE ff.flags SET state = 'active' WHERE key = 'idle'});

# another database has flags of its own under the same names
ask('CREATE DATABASE other');
ask(q{CREATE EXTENSION ff; INSERT INTO ff.flags (key, type, default_value) VALUES ('asked', 'boolean', 'true')}, 'other');
is(ask($known, 'other'), '', 'databases are told apart');

$node->restart;
is(ask($known), 'asked base on-base', 'known after a restart');
ask(q{SELECT count(*) FROM ff_evaluate_all('{}')});
is(ask($known), 'asked base idle on-base', 'ff_evaluate_all evaluates all');

# a crash takes what was in memory: then nothing is claimed of the time before
my $session = Ff::session($node);
my $pid = $session->{pg_pid};
kill 'KILL', $pid;
$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
is(ask($known), '', 'forgotten after a crash');
is(ask($never), '0', 'and no flag is called stale for that');

# what has no room in the table is not claimed to be idle
ask(q{INSERT INTO ff.flags (key, type, default_value) SELECT 'n-' || g, 'number', to_jsonb(g) FROM generate_series(1, 2000) g});
ask(q{SELECT count(ff_number('n-' || g)) FROM generate_series(1, 2000) g});
is(ask(q{SELECT count(*) < 2000 FROM ff.flags WHERE ff_last_evaluated(key) IS NOT NULL}), 't', 'more flags than are tracked');
is(ask(q{SET ff.stale_after = 1; SELECT count(*) FROM ff.stale_flags WHERE reason = 'not evaluated' AND since < (SELECT min(created_at) FROM ff.flags)}),
	'0', 'those without room are not called stale');

# ---------- not preloaded ----------
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->append_conf('postgresql.conf', q{ff.max_tracked_flags = 50});
$node->restart;
is(ask(q{SELECT ff_bool('asked') AND ff_last_evaluated('asked') IS NULL}), 't', 'without preloading: flags are evaluated, and nothing is known of it');
is(ask($unused), '', 'nor is any called stale for it');

$node->stop;
done_testing();
