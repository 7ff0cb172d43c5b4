# The file sink: what is in a file, when, and what becomes of it when writing fails.

use strict;
use warnings;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Ff;

my $node = PostgreSQL::Test::Cluster->new('files');
my $directory = $node->basedir . '/lines';

# Segments of the log are small: a limit for the size of files that they keep to can be met by the worker's.
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8', '--wal-segsize=1' ]);
$node->append_conf('postgresql.conf', join("\n", 'fsync = off', 'autovacuum = off', q{shared_preload_libraries = 'ff'}, 'restart_after_crash = on',
	'ff.exposure_flush_interval = 1h', 'ff.exposure_flush_count = 1000000000', q{ff.exposure_sink = 'file'}, "ff.exposure_directory = '$directory'",
	'ff.exposure_file_size = 4MB'));
mkdir $directory;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ff');

sub ask { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub comes_true { my ($sql) = @_; return $node->poll_query_until('postgres', $sql); }
sub wait_for { my ($sql) = @_; comes_true($sql) or die "never true: $sql"; return; }
sub set { $node->append_conf('postgresql.conf', join("\n", @_)); $node->reload; return; }
sub stats { my ($columns) = @_; return ask("SELECT $columns FROM ff.exposure_stats"); }
sub files { return sort glob "$directory/exposures-*.jsonl"; }

my $books = q{noted = flushed + dropped + buffered AND buffered = (SELECT coalesce(sum(evaluations), 0) FROM ff.exposure_buffer)};
my $oid = ask(q{SELECT oid FROM pg_database WHERE datname = 'postgres'});

# Has users evaluate the flag, each once.
sub expose
{
	my ($prefix, $count) = @_;
	return ask(qq{SELECT count(ff_bool('exp', jsonb_build_object('user_id', '$prefix' || g))) FROM generate_series(1, $count) g});
}

# The users of the lines in files, sorted; whatever is not JSON is an error.
sub users
{
	my @lines;
	for (@_) { push @lines, split /\n/, slurp_file($_) if -f $_; }
	return sort map { decode_json($_)->{user_id} } @lines;
}

# The file that is begun next, counted from today; the second one, should a day begin meanwhile.
sub next_files
{
	my $days = ask(q{SELECT string_agg(to_char(now() AT TIME ZONE 'UTC' + make_interval(days => n), 'YYYYMMDD'), ' ') FROM generate_series(0, 1) n});
	return map { my ($day, $n) = ($_, 1); $n++ while -e "$directory/exposures-$oid-$day-$n.jsonl"; "$directory/exposures-$oid-$day-$n.jsonl" } split / /, $days;
}

ask(q{INSERT INTO ff.flags (key, type, default_value, rollout, experiment) VALUES ('exp', 'boolean', 'false', '[{"variant": "on", "weight": 50}]', '{"active": true}')});
wait_for(q{SELECT worker_pid IS NOT NULL FROM ff.exposure_stats});

# ---------- a full disk ----------
my @full = next_files();
symlink '/dev/full', $_ for @full;
expose('full', 20);
set('ff.exposure_flush_interval = 100ms');
wait_for(q{SELECT errors >= 2 FROM ff.exposure_stats});
like(stats('last_error'), qr/could not write file ".*": No space left on device/, 'a full disk: said in ff.exposure_stats');
is(stats("buffered, flushed, dropped, last_flush IS NULL, $books"), '20|0|0|t|t', '... everything is kept, and tried again');
is(expose('meanwhile', 5), '5', '... evaluation goes on');
unlink @full;
ok(comes_true(q{SELECT buffered = 0 FROM ff.exposure_stats}), 'with room again, the worker writes it down');
is(stats("flushed, dropped, $books"), '25|0|t', '... with the books right');
is_deeply([ users(files()) ], [ sort +(map { "full$_" } 1 .. 20), (map { "meanwhile$_" } 1 .. 5) ], '... each once');

# A disk that fills in the middle of a line: to a process, a limit for the size of files is that.
set('ff.exposure_flush_interval = 1h');
wait_for(q{SELECT current_setting('ff.exposure_flush_interval') = '1h'});
unlink files();
my ($pid, $errors) = split /\|/, stats('worker_pid, errors');
system_or_bail('prlimit', "--pid=$pid", '--fsize=1572864:');
my @many = map { 'x' x 400 . $_ } 1 .. 4000;
expose('x' x 400, 4000);
set('ff.exposure_flush_interval = 100ms');
wait_for(qq{SELECT errors >= $errors + 2 FROM ff.exposure_stats});
like(stats('last_error'), qr/could not write file ".*": File too large/, 'a disk that is full after a while');
my ($flushed, $right) = split /\|/, stats("flushed - 25, buffered = 4000 - (flushed - 25) AND dropped = 0 AND $books");
is($right, 't', '... what was written is flushed, the rest is kept');
cmp_ok($flushed, '>', 0, '... some was');
my @written = users(files());
is(scalar @written, $flushed, '... that is what is in the file');
ok(!(grep { substr(slurp_file($_), -1) ne "\n" } files()), '... whole lines alone');
system_or_bail('prlimit', "--pid=$pid", '--fsize=unlimited:');
ok(comes_true(q{SELECT buffered = 0 FROM ff.exposure_stats}), 'with room again, the worker writes the rest');
is_deeply([ users(files()) ], [ sort @many ], '... each once');
is(stats("flushed, dropped, worker_pid = $pid, $books"), '4025|0|t|t', '... and in the books');

# ---------- synced ----------
# /dev/null takes everything, and can't be synced.
set('ff.exposure_flush_interval = 1h', 'fsync = on', 'ff.exposure_file_size = 64kB');
wait_for(q{SELECT current_setting('fsync') = 'on' AND current_setting('ff.exposure_flush_interval') = '1h'});
unlink files();
my @null = next_files();
symlink '/dev/null', $_ for @null;
expose('synced', 3);
my ($code, undef, $said) = $node->psql('postgres', 'SELECT ff_flush_exposures()');
like($said, qr/ERROR:  could not write file ".*": Invalid argument/, 'a file that can not be synced');
is(stats("buffered, flushed, $books"), '3|4025|t', '... nothing of it counts as flushed');
unlink @null;
is(ask('SELECT ff_flush_exposures()'), '3', '... before it is');
is_deeply([ users(files()) ], [ qw(synced1 synced2 synced3) ], '... once');
set('fsync = off');
wait_for(q{SELECT current_setting('fsync') = 'off'});

# ---------- rotation ----------
my $yesterday = "$directory/exposures-$oid-" . ask(q{SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYYMMDD')}) . '-1.jsonl';
rename((files())[0], $yesterday);
my $was = slurp_file($yesterday);
expose('today', 3);
ask('SELECT ff_flush_exposures()');
is(slurp_file($yesterday), $was, 'a day that is over: nothing is added to its file');
is_deeply([ users(grep { $_ ne $yesterday } files()) ], [ qw(today1 today2 today3) ], '... another is begun');
unlink files();
for my $i (1 .. 4) { expose("part$i" . 'x' x 400, 60); ask('SELECT ff_flush_exposures()'); }
my @sizes = map { -s } files();
cmp_ok(scalar @sizes, '>=', 2, 'a file that has its size: another is begun') or diag("@sizes");
ok(!(grep { $_ > 65536 + 60 * 700 } @sizes), '... and no batch is put to one that is full');
my @parts = users(files());
is(scalar @parts, 240, '... nothing is lost between them');

# ---------- a crash ----------
unlink files();
expose('before', 3);
ask('SELECT ff_flush_exposures()');
my ($file) = files();
expose('lost', 3);
$pid = stats('worker_pid');
kill 'KILL', $pid;
wait_for(qq{SELECT worker_pid <> $pid FROM ff.exposure_stats});
is_deeply([ users(files()) ], [ qw(before1 before2 before3) ], 'a crash leaves what was written');

# What a crash can leave of lines that were not synced.
for my $part ('{"namespace": "default", "flag_k', "\0" x 100)
{
	my $n = () = files();
	append_to_file((files())[-1], $part);
	$was = slurp_file((files())[-1]);
	expose("after$n", 2);
	ask('SELECT ff_flush_exposures()');
	my @files = files();
	is(scalar @files, $n + 1, 'a file whose last line is cut off is left as it is');
	is(slurp_file($files[-2]), $was, '... so that readers can tell');
	is_deeply([ users($files[-1]) ], [ "after${n}1", "after${n}2" ], '... and the next lines are in another one');
}
my (undef, $tomorrow) = next_files();
expose('last', 1);
ask('SELECT ff_flush_exposures()');
my @last = files();
is(scalar @last, -e $tomorrow ? 4 : 3, '... which is gone on with, but for another day');
is(scalar(grep { $_ eq 'last1' } users($last[-1])), 1, '... and complete');
is(stats("buffered, $books"), '0|t', 'the books are right');

$node->stop;
done_testing();
