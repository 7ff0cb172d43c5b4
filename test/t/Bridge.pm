# test/t/Bridge.pm: sse-bridge beside a cluster, what it answers, and clients of its streams.
package Bridge;

use strict;
use warnings;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

my $json = JSON::PP->new->utf8->allow_nonref->canonical;

# Waits until a condition holds, for three minutes at most; returns whether it does.
sub wait_until
{
	my ($condition) = @_;
	for (1 .. 1800)
	{
		return 1 if $condition->();
		sleep 0.1;
	}
	return 0;
}

# A bridge that serves database postgres of a node, on a port of its own; started, and ready unless
# told otherwise. Options are those of its command line.
sub new
{
	my ($class, $node, %arguments) = @_;
	my $self = bless {
		port => $arguments{port} // PostgreSQL::Test::Cluster::get_free_port(),
		database => $arguments{database} // ('host=' . $node->host . ' port=' . $node->port . ' dbname=postgres'),
		options => $arguments{options} // [],
		log => $PostgreSQL::Test::Utils::log_path . '/bridge-' . $node->name . '-' . int(rand(1e9)) . '.log',
	}, $class;
	$self->start($arguments{not_ready});
	return $self;
}

sub start
{
	my ($self, $not_ready) = @_;
	$self->{pid} = fork();
	die "fork: $!" unless defined $self->{pid};
	if ($self->{pid} == 0)
	{
		open(STDERR, '>>', $self->{log}) or die;
		open(STDOUT, '>>', $self->{log}) or die;
		open(STDIN, '<', '/dev/null') or die;
		exec("$ENV{FF_SOURCE}/build/sse-bridge/sse-bridge", '--listen', $self->address,
			'--database', $self->{database}, @{ $self->{options} })
		  or die "exec: $!";
	}
	wait_until(sub { $self->status('/healthz') == 200 }) or die "the bridge doesn't start: see $self->{log}";
	wait_until(sub { $self->status('/readyz') == 200 }) or die "the bridge isn't ready: see $self->{log}"
	  unless $not_ready;
	return $self;
}

# Ends it by a signal; returns its exit code, undef where the signal did it.
sub stop
{
	my ($self, $signal) = @_;
	return unless $self->{pid};
	kill $signal // 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
	return $? & 127 ? undef : $? >> 8;
}

sub restart
{
	my ($self, $signal) = @_;
	$self->stop($signal);
	return $self->start;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	$self->stop('KILL');
	return;
}

sub address { return "127.0.0.1:$_[0]{port}" }
sub url { return 'http://' . $_[0]->address . ($_[1] // '') }

# ---------- requests ----------

# An answer of HTTP::Tiny, with {json} where it is JSON. Content is encoded unless it is a string.
sub request
{
	my ($self, $method, $path, $content, %headers) = @_;
	my %options = (headers => \%headers);
	if (defined $content)
	{
		$options{content} = ref $content ? $json->encode($content) : $content;
		$headers{'Content-Type'} //= 'application/json';
	}
	my $answer = HTTP::Tiny->new(timeout => 60)->request($method, $self->url($path), \%options);
	my $type = $answer->{headers}{'content-type'} // '';
	$answer->{json} = $json->decode($answer->{content}) if $type =~ m{^application/(problem\+)?json} && length $answer->{content};
	return $answer;
}

sub status { my ($self, @rest) = @_; return $self->request('GET', @rest)->{status} }

# A metric by its name, with labels as they are written; undef without one.
sub metric
{
	my ($self, $name) = @_;
	return $self->request('GET', '/metrics')->{content} =~ /^\Q$name\E (\S+)$/m ? $1 : undef;
}

# ---------- streams ----------

# One stream, read by curl: {events} are what came so far, each with id, event, data and the text.
sub stream
{
	my ($self, $path, @options) = @_;
	my $stream = bless { out => '', bridge => $self }, 'Bridge::Stream';
	$stream->{run} = IPC::Run::start([ 'curl', '-sN', @options, $self->url($path // '/stream') ],
		'>', \$stream->{out}, '2>', \my $error);
	return $stream;
}

# Many of them: the load client over some bridges.
sub load
{
	my ($bridges, @options) = @_;
	my $load = bless { out => '', in => '' }, 'Bridge::Load';
	$load->{run} = IPC::Run::start([ "$ENV{FF_SOURCE}/build/test-bridge/sse_load", @options, map { $_->address } @$bridges ],
		'<', \$load->{in}, '>', \$load->{out});
	return $load;
}

package Bridge::Stream;

# The events that are there whole.
sub events
{
	my ($self) = @_;
	$self->{run}->pump_nb if $self->{run}->pumpable;
	my @events;
	my $text = $self->{out};
	while ($text =~ s/\A(.*?)\n\n//s)
	{
		my ($block, %event) = ($1);
		for my $line (split /\n/, $block)
		{
			$event{$1} = $2 if $line =~ /^(\w+): ?(.*)$/;
			$event{comment} = 1 if $line =~ /^:/;
		}
		push @events, \%event;
	}
	return @events;
}

# Those that have data.
sub data { return grep { defined $_->{data} } $_[0]->events }

# Waits until there are so many with data; returns them.
sub wait_for
{
	my ($self, $count) = @_;
	Bridge::wait_until(sub { scalar($self->data) >= $count || !$self->{run}->pumpable })
	  or die "no $count events: $self->{out}";
	return $self->data;
}

# Waits until the bridge has ended it.
sub wait_for_end
{
	my ($self) = @_;
	return Bridge::wait_until(sub { $self->events; !$self->{run}->pumpable });
}

sub close { my ($self) = @_; $self->{run}->kill_kill; return }
sub DESTROY { my ($self) = @_; local $?; $self->{run}->kill_kill; return }

package Bridge::Load;

# Has it end when all have seen an event; returns what it found: names with values, {events}, and who
# was {late}.
sub finish
{
	my ($self, $until) = @_;
	$self->{in} .= "until $until\n";
	$self->{run}->pump while length $self->{in};
	$self->{run}->finish;
	my %found = (events => {}, late => []);
	for (split /\n/, $self->{out})
	{
		$found{$1} = $2 if /^(\w+)=(.*)$/;
		$found{events}{$1} = $2 if /^event (\d+) (\w+)$/;
		push @{ $found{late} }, $_ if /^client/;
	}
	return \%found;
}

1;
