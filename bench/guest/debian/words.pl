# What Perl does in the guest: regular expressions, hashes, sorting, sprintf. Prints the same everywhere.
use strict;
use warnings;

my ($state, $text) = (12345, '');
for (1 .. 30000) {
  $state = ($state * 1103515245 + 12345) % 2147483648;
  $text .= join('', map { chr(97 + ($state >> $_) % 26) } 8, 13, 18) . ($state % 7 ? ' ' : ".\n");
}

my (%count, %starts);
$count{$_}++ for $text =~ /\b([a-z]+)\b/g;
$starts{substr $_, 0, 1} += $count{$_} for keys %count;
my @frequent = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my $sentences = () = $text =~ /[a-z]{3}\.\n/g;
(my $swapped = $text) =~ s/([aeiou])([^aeiou\s.])/$2$1/g;
my $sum = unpack '%32C*', $swapped;
print join(' ', scalar(keys %count), $sentences, $sum, map { "$_=$count{$_}" } @frequent[0 .. 4]), "\n";
print join(' ', map { sprintf '%s:%d', $_, $starts{$_} } sort keys %starts), "\n";
