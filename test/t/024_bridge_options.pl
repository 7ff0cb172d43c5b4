# What sse-bridge is told, and what is said of it: --help, the man page, the sample of the configuration and
# doc/operations.md name the same options with the same defaults, and the same metrics as there are.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my $source = $ENV{FF_SOURCE};
my $bridge = "$source/build/sse-bridge/sse-bridge";

sub slurp { return PostgreSQL::Test::Utils::slurp_file("$source/$_[0]"); }
# pairs as lines, which a failure shows
sub lines { my (%pairs) = @_; return join '', map { "$_ = $pairs{$_}\n" } sort keys %pairs; }
# what a run of the bridge prints: exit code, stdout, stderr
sub run
{
	my ($out, $error) = ('', '');
	IPC::Run::run([ $bridge, @_ ], '>', \$out, '2>', \$error);
	return ($? >> 8, $out, $error);
}

my ($code, $help) = run('--help');
my %options = map { /^  --([a-z-]+) +\S.*?(?: \(([^()]*)\))?$/ ? ($1 => $2 // '') : () } split /\n/, $help;
is($code, 0, '--help is no failure');
cmp_ok(scalar keys %options, '>', 30, 'and lists the options');

# ---------- the man page ----------

my %man;
for (grep { /\A\.BI? \\-\\-/ } split /^\.(?:TP|SH).*\n/m, slurp('sse-bridge/sse-bridge.1'))
{
	my ($name) = /\A\.BI? \\-\\-([a-z\\-]+)/;
	$name =~ tr/\\//d;
	$man{$name} = /Default: (.*)\.$/m ? $1 : '' unless $name =~ /\A(?:help|version)\z/;
}
is(lines(%man), lines(%options), 'the man page has them, with their defaults');

# ---------- the table ----------

my ($section) = slurp('doc/operations.md') =~ /^### Options\n(.*?)^### /ms;
my %table = $section =~ /^\| `([a-z-]+)`(?: \*)? \| (?:`(\S+)`)? ?\|/mg;
$_ //= '' for values %table;
is(lines(%table), lines(%options), 'so has the table in doc/operations.md');

# ---------- the sample ----------

my $text = slurp('sse-bridge/sse-bridge.conf.sample');
my %sample = $text =~ /^#([a-z-]+) = (.*)$/mg;
delete @options{qw(config check-config)};
is(join(' ', sort keys %sample), join(' ', sort keys %options), 'so has the sample of the configuration');
is(lines(map { $_ => $sample{$_} } grep { $options{$_} ne '' } keys %sample), lines(map { $_ => $options{$_} } grep { $options{$_} ne '' } keys %options),
	'... but for examples of what has no default');
my $file = PostgreSQL::Test::Utils::tempdir() . '/sample.conf';
PostgreSQL::Test::Utils::append_to_file($file, $text =~ s/^#(?=[a-z-]+ = )//gmr);
is_deeply([ run('--config', $file, '--check-config') ], [ 0, "the configuration is right\n", '' ], '... which is right without its number signs');

# which take effect at the next start only: a * in all three
my $star = join ' ', sort map { /^\.BI \\-\\-([a-z\\-]+)= \S+ " \*"$/ ? $1 =~ tr/\\//dr : () } split /\n/, slurp('sse-bridge/sse-bridge.1');
is(join(' ', sort $section =~ /^\| `([a-z-]+)` \* \|/mg), $star, 'man page and table agree on what a SIGHUP leaves');
is(join(' ', sort $text =~ /^# \* .*\n#([a-z-]+) /mg), $star, '... and the sample');
my $table = slurp('sse-bridge/config.c') =~ s/\n\s+"/ "/gr;
is(join(' ', sort $table =~ /\{"([a-z-]+)", OPTION_\w+, PLACE\(\S+\), (?:"[^"]*"|NULL), false,/g), $star, '... and the bridge');

# ---------- where values come from ----------

PostgreSQL::Test::Utils::append_to_file($file, "pool-size = many\n");
like((run('--config', $file, '--check-config'))[2], qr/sample\.conf:\d+: pool-size is not "many": it wants a whole number/, 'a wrong value is named, with its line');
is((run('--config', $file, '--check-config'))[0], 1, '... and a failure');
{
	local $ENV{SSE_BRIDGE_MAX_STREAMS} = '-1';
	like((run('--check-config'))[2], qr/SSE_BRIDGE_MAX_STREAMS: max-streams is not "-1"/, 'so is one in the environment');
	is((run('--check-config', '--max-streams', '5'))[0], 1, '... even where the command line overrules it');
}
like((run('--database', 'host=x password=y', '--check-config'))[2], qr/password on the command line is seen/, 'no password on the command line');

# ---------- metrics ----------

my ($metrics) = slurp('doc/operations.md') =~ /^### Metrics\n(.*?)^## /ms;
my %have = map { $_ => 1 } slurp('sse-bridge/api_status.c') =~ /"((?:ff_bridge|process)_[a-z_]+)"/g;
my %said = map { $_ => 1 } $metrics =~ /`((?:ff_bridge|process)_[a-z_]+)/g;
is(lines(%said), lines(%have), 'doc/operations.md has all metrics');

done_testing();
