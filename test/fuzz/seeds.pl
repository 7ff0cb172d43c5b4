# test/fuzz/seeds.pl: writes the requests of Http11Probe's compliance.json to a folder, one a file.

use strict;
use warnings;

use JSON::PP;
use MIME::Base64;

my ($suite, $folder) = @ARGV;
open my $in, '<:raw', $suite or die "$suite: $!\n";
my $cases = decode_json(do { local $/ = undef; <$in> })->{cases};
for my $case (@$cases)
{
	(my $request = decode_base64($case->{payload_latin1_base64})) =~ s/\{\{HOST\}\}/h:80/g;
	open my $out, '>:raw', "$folder/$case->{id}" or die "$folder/$case->{id}: $!\n";
	print $out $request;
	close $out or die "$folder/$case->{id}: $!\n";
}
