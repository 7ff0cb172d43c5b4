# Flags and segments through pg_dump: whatever refers to what, they come back as they were.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('dump');
$node->safe_psql('postgres', q{
	INSERT INTO ff.flags (key, type, default_value) VALUES ('z', 'boolean', 'true');
	INSERT INTO ff.segments (key, "if") VALUES ('s', '{"flag": "z", "variant": "on"}');
	INSERT INTO ff.flags (key, type, default_value, rules, requires) VALUES ('a', 'boolean', 'false',
		'[{"if": {"segment": "s"}, "serve": "on"}]', '[{"flag": "z", "variant": "on"}]');
	UPDATE ff.flags SET description = 'changed' WHERE key = 'a';
	CREATE ROLE reader;
	GRANT SELECT ON ff.flags TO reader;
});
my $all = q{SELECT ff_flag(key) FROM ff.flags UNION ALL SELECT ff_segment(key) FROM ff.segments ORDER BY 1};
my $before = $node->safe_psql('postgres', $all);
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';

for my $way ([ 'plain', '-Fp' ], [ 'custom', '-Fc' ], [ 'data inserted', '-Fp', '--inserts' ])
{
	my ($name, @options) = @$way;
	(my $database = $name) =~ s/ /_/g;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->command_ok([ 'pg_dump', @options, '-f', $file, $node->connstr('postgres') ], "dump: $name");
	$node->command_ok(
		  $options[0] eq '-Fc'
		? [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($database), $file ]
		: [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $file ],
		"restore: $name");
	is($node->safe_psql($database, $all), $before, "$name: flags, segments, versions and times");
	is($node->safe_psql($database, q{SELECT ff_bool('a')}), 't', "$name: evaluation");
	is($node->safe_psql($database, q{SELECT has_table_privilege('reader', 'ff.flags', 'SELECT')}), 't', "$name: grants");
	$node->safe_psql($database, q{UPDATE ff.flags SET enabled = false WHERE key = 'a'});
	is($node->safe_psql($database, q{SELECT version FROM ff.flags WHERE key = 'a'}), '3', "$name: versions go on");
}

$node->stop;
done_testing();
