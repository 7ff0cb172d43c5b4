# The whole record through pg_dump and physical copies: rows, events and namespaces come back as
# they were, nothing is recorded of it, and the log goes on where it was.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = Ff::cluster('record');
$node->safe_psql('postgres', q{
	INSERT INTO ff.flags (key, type, default_value) VALUES ('z', 'boolean', 'true'), ('gone', 'boolean', 'true');
	INSERT INTO ff.segments (key, "if") VALUES ('s', '{"flag": "z", "variant": "on"}');
	INSERT INTO ff.flags (key, type, default_value, rules, requires) VALUES ('a', 'boolean', 'false',
		'[{"if": {"segment": "s"}, "serve": "on"}]', '[{"flag": "z", "variant": "on"}]');
	SET ff.actor = 'ada'; SET ff.comment = 'why not';
	UPDATE ff.flags SET description = 'changed' WHERE key = 'a';
	SELECT ff_archive_flag('gone');
	SELECT ff_purge_flag('gone');
	SELECT ff_create_namespace('shop');
	INSERT INTO ff.shop_flags (key, type, default_value) VALUES ('a', 'string', '"shop"');
	INSERT INTO ff.shop_segments (key, included) VALUES ('s', '["u"]');
	UPDATE ff.shop_flags SET default_value = '"shop two"';
	CREATE SCHEMA app;
	CREATE TABLE app.switches (LIKE ff.flags INCLUDING ALL, team text);
	INSERT INTO app.switches (key, type, default_value, version, created_at, updated_at)
		VALUES ('old', 'number', '1', 5, '2020-01-01', '2020-01-02');
	SELECT ff_register('app.switches', 'app');
	INSERT INTO app.switches (key, type, default_value, requires) VALUES ('before', 'boolean', 'true', NULL);
	UPDATE app.switches SET default_value = '2', team = 'core' WHERE key = 'old';
	INSERT INTO app.switches (key, type, default_value, requires)
		VALUES ('a', 'boolean', 'true', '[{"flag": "before", "variant": "on"}]');
});

# Everything: rows as they are, whatever their columns; times to the microsecond; the tables' triggers.
my @tables = qw(ff.flags ff.segments ff.events ff.shop_flags ff.shop_segments app.switches ff.app_segments);
my $everything = join "\n", (map { "SELECT '$_', t::text FROM $_ t ORDER BY t::text COLLATE \"C\";" } @tables),
	'SELECT name, flags::text, segments::text FROM ff.namespaces ORDER BY 1;',
	q{SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;},
	q{SELECT d.classid::regclass, coalesce(t.tgrelid, d.objid)::regclass::text, t.tgname FROM pg_depend d LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass
		AND t.oid = d.objid WHERE d.deptype = 'x' ORDER BY 2, 3;};
my $before = $node->safe_psql('postgres', $everything);
my $verify = q{SELECT valid, problem FROM ff_verify_events()};
my $next = $node->safe_psql('postgres', 'SELECT max(id) + 1 FROM ff.events');
is($node->safe_psql('postgres', $verify), 't|', 'the origin is whole');
is(scalar(() = $before =~ /^ff\.events\|\(/mg), $next - 1, 'events to compare');
my $folder = PostgreSQL::Test::Utils::tempdir();

# What DROP EXTENSION must leave nothing of; the tables of the user stay, as ordinary tables.
my $rests = q{
	SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'ff'
	UNION ALL SELECT 'relation ' || oid::regclass FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'ff')
	UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname ~ 'ff'
	UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
	UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE proname ~ '^ff_'};

sub drops_clean
{
	my ($on, $database, $name) = @_;
	is($on->psql($database, 'DROP EXTENSION ff'), 0, "$name: DROP EXTENSION");
	is($on->safe_psql($database, $rests), '', "$name: leaves nothing behind");
	is($on->safe_psql($database, 'DELETE FROM app.switches WHERE key = $$old$$ RETURNING default_value'), '2', "$name: but the user's own table");
	return;
}

sub same_record
{
	my ($on, $database, $name) = @_;
	is($on->safe_psql($database, $everything), $before, "$name: everything as it was");
	is($on->safe_psql($database, $verify), 't|', "$name: the chain is whole");
	is($on->safe_psql($database, q{SELECT ff_bool('a'), ff_string('a', namespace => 'shop'), ff_number('old', namespace => 'app')}), 't|shop two|2', "$name: evaluation");
	$on->safe_psql($database, q{SET check_function_bodies = off; UPDATE app.switches SET team = 'other' WHERE key = 'old'; INSERT INTO ff.flags (key, type, default_value) VALUES ('gone', 'number', '1')});
	is($on->safe_psql($database, "SELECT id, namespace, key, action, version FROM ff.events WHERE id >= $next ORDER BY id"),
		"$next|app|old|updated|7\n" . ($next + 1) . '|default|gone|created|3', "$name: numbers and versions go on");
	is($on->safe_psql($database, $verify), 't|', "$name: and the chain");
	drops_clean($on, $database, $name);
	return;
}

sub dump_to
{
	my ($file, @options) = @_;
	$node->command_ok([ 'pg_dump', @options, '-f', $file, $node->connstr('postgres') ], "pg_dump @options");
	return;
}

sub restore
{
	my ($database, $file, @options) = @_;
	my @command = -d $file || $file =~ /custom/ ? ('pg_restore', '--exit-on-error', @options, '-d', $node->connstr($database), $file)
		: ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', @options, '-d', $node->connstr($database), '-f', $file);
	$node->command_ok(\@command, "$database: $command[0] @options");
	return;
}

dump_to("$folder/plain", '-Fp');
dump_to("$folder/inserts", '-Fp', '--inserts');
dump_to("$folder/columns", '-Fp', '--column-inserts', '--rows-per-insert=3');
dump_to("$folder/custom", '-Fc');
dump_to("$folder/directory", '-Fd', '-j', '2');
dump_to("$folder/schema", '-Fp', '--schema-only');
dump_to("$folder/data", '-Fp', '--data-only');
dump_to("$folder/custom_data", '-Fc', '--data-only');

for my $way (
	[ 'plain', [ 'plain' ] ], [ 'plain_single', [ 'plain', '--single-transaction' ] ],
	[ 'inserted', [ 'inserts' ] ], [ 'inserted_single', [ 'inserts', '--single-transaction' ] ], [ 'columns', [ 'columns' ] ],
	[ 'custom', [ 'custom' ] ], [ 'custom_jobs', [ 'custom', '-j', '2' ] ], [ 'custom_single', [ 'custom', '--single-transaction' ] ],
	[ 'directory_jobs', [ 'directory', '-j', '2' ] ],
	[ 'data', [ 'schema' ], [ 'data' ] ], [ 'custom_data', [ 'schema' ], [ 'custom_data', '-j', '2' ] ],
	[ 'custom_data_single', [ 'schema' ], [ 'custom_data', '--single-transaction' ] ])
{
	my ($database, @restores) = @$way;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	for my $restore (@restores)
	{
		my ($file, @options) = @$restore;
		restore($database, "$folder/$file", @options);
	}
	same_record($node, $database, $database);
	$node->safe_psql('postgres', "DROP DATABASE $database");
}

# ---------- data only, into a database in which only the extension was created ----------

$node->safe_psql('postgres', 'CREATE DATABASE small');
$node->safe_psql('small', q{CREATE EXTENSION ff; INSERT INTO ff.flags (key, type, default_value) VALUES ('z', 'boolean', 'true');
	INSERT INTO ff.flags (key, type, default_value, requires) VALUES ('a', 'boolean', 'true', '[{"flag": "z", "variant": "on"}]')});
my $small = 'SELECT t::text FROM ff.flags t ORDER BY key; SELECT t::text FROM ff.events t ORDER BY id';
$node->command_ok([ 'pg_dump', '--data-only', '-f', "$folder/small", $node->connstr('small') ], 'a dump of the data of namespace default');
$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql('prepared', 'CREATE EXTENSION ff');
restore('prepared', "$folder/small");
is($node->safe_psql('prepared', $small), $node->safe_psql('small', $small), 'prepared: everything as it was');
is($node->safe_psql('prepared', $verify), 't|', 'prepared: the chain is whole');

# ---------- a physical copy ----------

$node->backup('copy');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'copy');
$copy->start;
same_record($copy, 'postgres', 'a physical copy');
$copy->stop;

# ---------- sessions that do what dumps do, and are none ----------

my $writer = Ff::session($node);
my $newest = "SELECT string_agg(namespace || ' ' || key || ' ' || action || ' ' || version, ', ' ORDER BY id) FROM ff.events WHERE id >= $next";
$writer->do(q{SET check_function_bodies = off;
	INSERT INTO ff.flags (key, type, default_value) VALUES ('tool', 'number', '1');
	UPDATE ff.flags SET default_value = '2' WHERE key = 'tool';
	INSERT INTO ff.shop_segments (key, included, version) VALUES ('tool', '["u"]', 99);
	SELECT ff_disable_flag('tool')});
is(Ff::value($writer, $newest), 'default tool created 1, default tool updated 2, shop tool created 1, default tool disabled 3', 'check_function_bodies = off: events all the same');
is($node->safe_psql('postgres', $verify), 't|', 'and the chain is whole');
$writer->disconnect;

drops_clean($node, 'postgres', 'the origin');
$node->stop;
done_testing();
