#!/usr/bin/perl
# Writes src/engine/ffe_casefold.h: Unicode's simple case folding (statuses C and S of
# CaseFolding.txt) as ranges, from the Unicode tables that Perl carries.
#
#	perl scripts/casefold.pl > src/engine/ffe_casefold.h
use strict;
use warnings;
use Unicode::UCD qw(casefold);

my @ranges;    # [first, last, step, delta]
for my $code (0x80 .. 0x1FFFF)
{
	my $fold = casefold($code) or next;
	next unless $fold->{simple};
	my $delta = hex($fold->{simple}) - $code;
	my $last = $ranges[-1];
	if ($last && $last->[3] == $delta)
	{
		my $step = $code - $last->[1];
		if (($last->[0] == $last->[1] && $step <= 2) || $step == $last->[2])
		{
			($last->[1], $last->[2]) = ($code, $step);
			next;
		}
	}
	push @ranges, [ $code, $code, 1, $delta ];
}
my $version = Unicode::UCD::UnicodeVersion();
my $count = @ranges;
print <<"HEAD";
/*
 * src/engine/ffe_casefold.h
 *	  Unicode $version simple case folding beyond ASCII. Made by scripts/casefold.pl: do not edit.
 *
 * From first to last, every step-th code point folds to itself plus delta.
 */
#ifndef FFE_CASEFOLD_H
#define FFE_CASEFOLD_H

typedef struct ffe_fold_range
{
	uint32_t first;
	uint32_t last;
	int32_t step;
	int32_t delta;
} ffe_fold_range;

/* clang-format off */
static const ffe_fold_range ffe_fold_ranges[$count] = {
HEAD
printf "\t{0x%04X, 0x%04X, %d, %d},\n", @$_ for @ranges;
print "};\n/* clang-format on */\n\n#endif /* FFE_CASEFOLD_H */\n";
