# test/t/Ff.pm: clusters with ff, and sessions in them that stay open.
package Ff;

use strict;
use warnings;
use DBI;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

# A running cluster with the extension in database postgres. Options are lines of postgresql.conf.
sub cluster
{
	my ($name, @options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ], allows_streaming => 1);
	$node->append_conf('postgresql.conf', join("\n", 'fsync = off', 'max_prepared_transactions = 5', @options));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION ff');
	return $node;
}

# A session that lives as long as what is returned. Its statements are sent as they are.
sub session
{
	my ($node, $database) = @_;
	return DBI->connect(
		'dbi:Pg:host=' . $node->host . ';port=' . $node->port . ';dbname=' . ($database // 'postgres'),
		undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_server_prepare => 0 });
}

# The first column of the first row.
sub value
{
	my ($session, $sql) = @_;
	my $row = $session->selectrow_arrayref($sql);
	return $row && $row->[0];
}

1;
