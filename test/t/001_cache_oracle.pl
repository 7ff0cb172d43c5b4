# The cache against an evaluation without one, over tens of thousands of random operations; and the
# same against a build with the obvious rule of freshness, which the test must catch.
#
# FF_ORACLE_OPERATIONS and FF_ORACLE_SEED repeat a run.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Oracle;

my $operations = $ENV{FF_ORACLE_OPERATIONS} || 30_000;
my $seed = $ENV{FF_ORACLE_SEED} || time;

my $node = PostgreSQL::Test::Cluster->new('oracle');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 5");
$node->start;

sub dsn
{
	my ($database) = @_;
	return 'dbi:Pg:host=' . $node->host . ';port=' . $node->port . ";dbname=$database";
}

sub prepare_database
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	my $dbh = DBI->connect(dsn($database), undef, undef, { RaiseError => 1 });
	Oracle::set_up($dbh);
	$dbh->disconnect;
	return;
}

diag "seed $seed, $operations operations";
prepare_database('ours');
my $played = Oracle::play(dsn => dsn('ours'), seed => $seed, operations => $operations);
my %kinds = %{ $played->{kinds} };
diag "$played->{checks} answers compared: ", join(', ', map { "$_ $kinds{$_}" } sort keys %kinds);
cmp_ok($played->{checks}, '>', $operations / 4, 'the sessions got to compare answers');
cmp_ok($played->{evictions}, '>', $operations / 100, 'the smallest cache dropped documents');
is(scalar @{ $played->{wrong} }, 0, 'every answer is what the table says')
  or diag "seed $seed, the first of them, operations and what they did:\n", join("\n", @{ $played->{wrong}[0] });

# The obvious rule, in a module of its own: the functions of one database are made to point to it.
my $source = $ENV{FF_SOURCE} or die "FF_SOURCE is not set: it names the sources of ff";
my $naive = PostgreSQL::Test::Utils::tempdir();
system_or_bail('cp', '-r', "$source/.", $naive);
system_or_bail('make', '-s', '-C', $naive, 'clean', 'with_llvm=no');
system_or_bail('make', '-s', '-C', $naive, 'with_llvm=no', 'FF_CFLAGS=-DFF_TEST_NAIVE_CACHE');
prepare_database('naive');
$node->safe_psql('naive', "UPDATE pg_proc SET probin = '$naive/ff' WHERE probin = '\$libdir/ff'");
$played = Oracle::play(
	dsn => dsn('naive'), seed => $seed, operations => $operations, until_wrong => 1);
diag "the obvious rule: wrong after $played->{checks} answers";
cmp_ok(scalar @{ $played->{wrong} }, '>', 0, 'the test catches the obvious rule');

$node->stop;
done_testing();
