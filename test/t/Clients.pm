# test/t/Clients.pm: programs that are clients of sse-bridge, in the background.
package Clients;

use strict;
use warnings;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More ();
use Time::HiRes ();

my $json = JSON::PP->new->utf8->canonical;

# Seconds. Everything here waits for what must come; this is for what never does.
my $patience = 120;

# Ends the test with a message that is seen where it runs, not in its log alone.
sub give_up { my ($message) = @_; Test::More::diag($message); die $message; }

# A port that stays free while the bridge is away: no connection that somebody makes is given it.
sub free_port
{
	my ($first) = slurp_file('/proc/sys/net/ipv4/ip_local_port_range') =~ /(\d+)/;
	for (1 .. 100)
	{
		my $port = 10000 + int rand($first - 10000);
		return $port if IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Proto => 'tcp', Listen => 1, ReuseAddr => 1);
	}
	die "no port is free\n";
}

# Dies where something that npm or Debian brings isn't there, for no test may be left out.
sub need
{
	my $root = "$ENV{FF_SOURCE}/test/clients";
	-d "$root/node_modules/$_" or give_up("npm package $_ is missing: run npm ci in $root\n") for 'eventsource', 'playwright-core';
	my $chromium = $ENV{CHROMIUM} // '/usr/bin/chromium';
	-x $chromium or give_up("$chromium is missing: run scripts/packages.sh check\n");
	my $version = `node --version` =~ /^v(\d+)/ ? $1 : 0;
	$version >= 18 or give_up("node 18 or newer is missing: run scripts/packages.sh check\n");
	return;
}

# Runs a command in the background; what it says is in {out}, as it comes.
sub start
{
	my ($class, @command) = @_;
	my $self = bless { in => '', out => '', err => '', name => $command[0] eq 'node' ? $command[1] =~ s{.*/}{}r : $command[0], lines => [] }, $class;
	$self->{run} = IPC::Run::start(\@command, '<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
	return $self;
}

# One of test/clients, which tells in JSON, one object a line.
sub node { my ($class, $program, @arguments) = @_; return $class->start('node', "$ENV{FF_SOURCE}/test/clients/$program", @arguments); }

# Takes in what has come.
sub look
{
	my ($self) = @_;
	$self->{run}->pump_nb if $self->{run}->pumpable;
	return $self->{out};
}

sub wait_for
{
	my ($self, $what, $is_true) = @_;
	my $end = time + $patience;
	until ($is_true->($self->look))
	{
		my $is_over = !$self->{run}->pumpable;
		next if $is_over && $is_true->($self->look);
		give_up("$self->{name} " . ($is_over ? 'ended' : 'waited') . " without: $what\n" . $self->said) if $is_over || time > $end;
		Time::HiRes::sleep(0.005);
	}
	return;
}

# The last of what it has said, for a message.
sub said
{
	my ($self) = @_;
	my $told = join "\n", map { $json->encode($_) } @{ $self->{lines} };
	return join "\n", map { length > 3000 ? '...' . substr $_, -3000 : $_ } grep { length } $told, $self->{out}, $self->{err}, '';
}

# What it has told so far; with a word, that of this sort.
sub told
{
	my ($self, $what) = @_;
	$self->look;
	push @{ $self->{lines} }, $json->decode($1) while $self->{out} =~ s/\A(\{.*)\n//;
	return grep { !defined $what || $_->{what} eq $what } @{ $self->{lines} };
}

# Waits until something is told that a function likes; returns it.
sub wait_told
{
	my ($self, $what, $likes) = @_;
	my $found;
	$self->wait_for($what, sub { ($found) = grep { $likes->($_) } $self->told($what); return $found; });
	return $found;
}

# Forgets what was told so far.
sub forget { my ($self) = @_; $self->told; $self->{lines} = []; return; }

sub say { my ($self, $line) = @_; $self->{in} .= "$line\n"; $self->look; return; }

# Ends it: one of ours by a line, others by a signal. The end of its input would not do, for whoever was started since has that pipe open, too.
sub end
{
	my ($self, $signal) = @_;
	my $run = delete $self->{run} or return;
	if ($signal) { $run->signal($signal); }
	else { $self->{in} .= "end\n"; }
	eval { $run->finish } or !$@ or warn $@;
	return;
}

sub DESTROY { my ($self) = @_; local ($?, $@); $self->{run}->kill_kill(grace => 1) if $self->{run}; return; }

1;
