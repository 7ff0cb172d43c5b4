# test/t/OpenApi.pm: what an OpenAPI document says of answers, and whether they are so.
#
# Checks of JSON Schema what the document uses of it, and dies of a keyword that it doesn't know:
# nothing is passed over in silence.
package OpenApi;

use strict;
use warnings;
use JSON::PP;
use B;

# Keywords that say nothing about what is valid.
my %silent = map { $_ => 1 } qw(description default title);

sub new
{
	my ($class, $document) = @_;
	return bless { document => $document, seen => {} }, $class;
}

# What a reference leads to.
sub resolve
{
	my ($self, $node) = @_;
	while (ref $node eq 'HASH' && defined $node->{'$ref'})
	{
		my ($pointer) = $node->{'$ref'} =~ m{^#/(.*)$} or die "a reference of another kind: $node->{'$ref'}";
		$node = $self->{document};
		for my $part (split m{/}, $pointer)
		{
			$part =~ s{~1}{/}g;
			$part =~ s{~0}{~}g;
			die "nothing is at $pointer" unless exists $node->{$part};
			$node = $node->{$part};
		}
	}
	return $node;
}

# ---------- values ----------

# JSON::PP keeps a number's kind in its flags.
sub type_of
{
	my ($value) = @_;
	return 'null' unless defined $value;
	return 'boolean' if JSON::PP::is_bool($value);
	return 'array' if ref $value eq 'ARRAY';
	return 'object' if ref $value eq 'HASH';
	return 'number' if ref $value;
	my $flags = B::svref_2object(\$value)->FLAGS;
	return $flags & (B::SVf_IOK | B::SVf_NOK) && !($flags & B::SVf_POK) ? 'number' : 'string';
}

sub is_type
{
	my ($value, $type) = @_;
	my $is = type_of($value);
	return $is eq 'number' && $value == int($value) if $type eq 'integer';
	return $is eq $type;
}

my $canonical = JSON::PP->new->allow_nonref->canonical;

sub is_equal
{
	my ($left, $right) = @_;
	return type_of($left) eq type_of($right) && $canonical->encode($left) eq $canonical->encode($right);
}

sub is_time
{
	my ($value) = @_;
	my ($year, $month, $day, $hour, $minute, $second) =
	  $value =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/a or return 0;
	my @days = (31, $year % 4 == 0 && ($year % 100 != 0 || $year % 400 == 0) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31);
	return $month >= 1 && $month <= 12 && $day >= 1 && $day <= $days[ $month - 1 ] && $hour < 24 && $minute < 60 && $second <= 60;
}

# ---------- keywords ----------

# Each is called with what the keyword says, the value, its place and the whole schema; returns what
# is wrong.
my %keywords = (
	type => sub {
		my ($self, $types, $value) = @_;
		$types = [$types] unless ref $types;
		return if grep { is_type($value, $_) } @$types;
		return 'is ' . type_of($value) . ', not ' . join(' or ', @$types);
	},
	enum => sub {
		my ($self, $values, $value) = @_;
		return if grep { is_equal($_, $value) } @$values;
		return 'is none of ' . $canonical->encode($values);
	},
	const => sub {
		my ($self, $constant, $value) = @_;
		return is_equal($constant, $value) ? () : 'is not ' . $canonical->encode($constant);
	},
	pattern => sub {
		my ($self, $pattern, $value) = @_;
		return if type_of($value) ne 'string' || $value =~ /$pattern/;
		return "doesn't match $pattern";
	},
	format => sub {
		my ($self, $format, $value) = @_;
		die "format $format" if $format ne 'date-time';
		return type_of($value) ne 'string' || is_time($value) ? () : 'is no RFC 3339 time';
	},
	minLength => sub { my ($self, $least, $value) = @_; return type_of($value) eq 'string' && length($value) < $least ? 'is too short' : () },
	maxLength => sub { my ($self, $most, $value) = @_; return type_of($value) eq 'string' && length($value) > $most ? 'is too long' : () },
	minimum => sub { my ($self, $least, $value) = @_; return type_of($value) eq 'number' && $value < $least ? "is less than $least" : () },
	maximum => sub { my ($self, $most, $value) = @_; return type_of($value) eq 'number' && $value > $most ? "is more than $most" : () },
	minItems => sub { my ($self, $least, $value) = @_; return ref $value eq 'ARRAY' && @$value < $least ? 'has too few elements' : () },
	maxItems => sub { my ($self, $most, $value) = @_; return ref $value eq 'ARRAY' && @$value > $most ? 'has too many elements' : () },
	minProperties => sub { my ($self, $least, $value) = @_; return type_of($value) eq 'object' && keys %$value < $least ? 'has too few members' : () },
	maxProperties => sub { my ($self, $most, $value) = @_; return type_of($value) eq 'object' && keys %$value > $most ? 'has too many members' : () },
	items => sub {
		my ($self, $schema, $value, $place) = @_;
		return unless ref $value eq 'ARRAY';
		return { map { %{ $self->problems($schema, $value->[$_], "$place\[$_]") } } 0 .. $#$value };
	},
	properties => sub {
		my ($self, $schemas, $value, $place) = @_;
		return unless type_of($value) eq 'object';
		return { map { %{ $self->problems($schemas->{$_}, $value->{$_}, "$place.$_") } } grep { exists $value->{$_} } keys %$schemas };
	},
	additionalProperties => sub {
		my ($self, $schema, $value, $place, $whole) = @_;
		return unless type_of($value) eq 'object';
		return { map { %{ $self->problems($schema, $value->{$_}, "$place.$_") } } grep { !$whole->{properties} || !exists $whole->{properties}{$_} } keys %$value };
	},
	propertyNames => sub {
		my ($self, $schema, $value, $place) = @_;
		return unless type_of($value) eq 'object';
		return { map { %{ $self->problems($schema, "$_", "$place: the name $_") } } keys %$value };
	},
	required => sub {
		my ($self, $names, $value) = @_;
		return unless type_of($value) eq 'object';
		my @missing = grep { !exists $value->{$_} } @$names;
		return @missing ? "lacks @missing" : ();
	},
	allOf => sub {
		my ($self, $schemas, $value, $place) = @_;
		return { map { %{ $self->problems($_, $value, $place) } } @$schemas };
	},
	anyOf => sub { my ($self, $schemas, $value, $place) = @_; return $self->matching($schemas, $value, $place, 0) },
	oneOf => sub { my ($self, $schemas, $value, $place) = @_; return $self->matching($schemas, $value, $place, 1) },
);

# Whether at least, or exactly, one of the schemas holds.
sub matching
{
	my ($self, $schemas, $value, $place, $exactly) = @_;
	my @found = map { $self->problems($_, $value, $place) } @$schemas;
	my $good = grep { !%$_ } @found;
	return $good == 1 || ($good && !$exactly) ? () : $good ? "fits $good schemas of one"
	  : 'fits none: ' . join(' | ', map { my $one = $_; join '; ', map { "$_ $one->{$_}" } sort keys %$one } @found);
}

# What of a value is not as a schema says: by its place.
sub problems
{
	my ($self, $schema, $value, $place) = @_;
	$place //= '';
	return $schema ? {} : { $place => 'may not be here' } if JSON::PP::is_bool($schema);
	my %problems;
	%problems = %{ $self->problems($self->resolve({ '$ref' => $schema->{'$ref'} }), $value, $place) } if $schema->{'$ref'};
	for my $keyword (sort keys %$schema)
	{
		next if $silent{$keyword} || $keyword eq '$ref';
		my $check = $keywords{$keyword} or die "a keyword of JSON Schema that is not known: $keyword";
		my ($problem) = $check->($self, $schema->{$keyword}, $value, $place, $schema);
		next unless defined $problem;
		%problems = (%problems, ref $problem ? %$problem : ($place => $problem));
	}
	return \%problems;
}

sub describe { my ($problems) = @_; return map { ($_ eq '' ? 'it' : $_) . " $problems->{$_}" } sort keys %$problems }

# ---------- answers ----------

# The path of the document that a path is of.
sub template
{
	my ($self, $path) = @_;
	$path =~ s/\?.*//s;
	my @fitting = grep { my $pattern = quotemeta; $pattern =~ s{\\\{\w+\\\}}{[^/]+}g; $path =~ m{^$pattern$} } keys %{ $self->{document}{paths} };
	my ($exact) = grep { $_ eq $path } @fitting;
	return $exact // $fitting[0];
}

# Headers that come with any answer, and need no word.
my %usual = map { $_ => 1 } qw(content-type content-length date connection x-content-type-options transfer-encoding);

sub check_headers
{
	my ($self, $described, $headers) = @_;
	my @wrong;
	my %known;
	for my $name (keys %{ $described // {} })
	{
		my $header = $self->resolve($described->{$name});
		my $value = $headers->{ lc $name };
		$known{ lc $name } = 1;
		push @wrong, "header $name is missing" if !defined $value && $header->{required};
		next unless defined $value;
		my $schema = $self->resolve($header->{schema});
		$value += 0 if ($schema->{type} // '') eq 'integer' && $value =~ /^\d+$/;
		push @wrong, map { "header $name: $_" } describe($self->problems($schema, $value));
	}
	push @wrong, map { "header $_ is not in the document" } grep { !$usual{$_} && !$known{$_} } sort keys %$headers;
	return @wrong;
}

sub check_body
{
	my ($self, $contents, $answer) = @_;
	my $type = $answer->{headers}{'content-type'};
	return length($answer->{content} // '') || defined $type ? 'there is a body' : () unless $contents;
	my $content = $contents->{ $type // '' } or return 'a body of type ' . ($type // 'none');
	return describe($self->problems($content->{schema}, $type =~ /json$/ ? $answer->{json} : $answer->{content}));
}

# What of an answer (with status, headers and json or content) is not as the document says; an empty list:
# nothing. A status must be named, unless $otherwise: then what is said of all others will do.
sub check
{
	my ($self, $method, $path, $answer, $otherwise) = @_;
	my $template = $self->template($path);
	my $operation = defined $template ? $self->{document}{paths}{$template}{ lc $method } : undef;
	my ($status, $response) = ($answer->{status});
	if ($operation)
	{
		$response = $operation->{responses}{$status};
		$self->{seen}{"$method $template $status"}++ if $response;
		$response //= $operation->{responses}{default} if $otherwise;
	}
	else
	{
		return "$status for what the document doesn't have" unless $status == (defined $template ? 405 : 404) || $status == 421 || $status == 403;
		$response = { '$ref' => '#/components/responses/' . { 404 => 'NotFound', 405 => 'MethodNotAllowed', 421 => 'Misdirected', 403 => 'Forbidden' }->{$status} };
	}
	return "status $status is not in the document" unless $response;
	$response = $self->resolve($response);
	return if $method eq 'HEAD';
	my @wrong = ($self->check_headers($response->{headers}, $answer->{headers}), $self->check_body($response->{content}, $answer));
	push @wrong, "status $status, and a problem of $answer->{json}{status}"
	  if ref $answer->{json} eq 'HASH' && ($answer->{headers}{'content-type'} // '') =~ /problem/ && $answer->{json}{status} != $status;
	return @wrong;
}

# What of the body of a request is not as the document says.
sub check_request
{
	my ($self, $method, $path, $body) = @_;
	my $content = $self->{document}{paths}{ $self->template($path) }{ lc $method }{requestBody}{content}{'application/json'} or return 'there is a body';
	return describe($self->problems($content->{schema}, $body));
}

# The same of an event's data.
sub check_event
{
	my ($self, $name, $data) = @_;
	my $events = $self->{document}{paths}{'/stream'}{get}{responses}{200}{content}{'text/event-stream'}{'x-events'};
	my $schema = $events->{$name} or return "event $name is not in the document";
	$self->{seen}{"event $name"}++;
	return describe($self->problems($schema, $data));
}

# What the document promises and no answer has shown: statuses that are not problems, and events.
sub unseen
{
	my ($self) = @_;
	my @unseen;
	for my $path (sort keys %{ $self->{document}{paths} })
	{
		my $item = $self->{document}{paths}{$path};
		for my $method (grep { $_ ne 'parameters' && $_ ne 'head' && $_ ne 'options' } sort keys %$item)
		{
			push @unseen, grep { !$self->{seen}{$_} } map { uc($method) . " $path $_" } grep { /^[23]/ } sort keys %{ $item->{$method}{responses} };
		}
	}
	my $events = $self->{document}{paths}{'/stream'}{get}{responses}{200}{content}{'text/event-stream'}{'x-events'};
	push @unseen, grep { !$self->{seen}{$_} } map { "event $_" } sort keys %$events;
	return @unseen;
}

1;
