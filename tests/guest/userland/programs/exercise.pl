#!/usr/bin/perl
# Perl's regular expressions, numbers to text, pack, sort, hashes, big numbers: a seeded walk through them, results printed.
use strict;
use warnings;
use Math::BigFloat;
use Math::BigInt;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha1_hex sha256_hex sha512_hex);
use List::Util qw(sum max reduce shuffle first);
use POSIX qw(floor ceil fmod strtol);

my $state = 12345;
sub rnd { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % shift }

my @words = map { join '', map { chr(97 + rnd(26)) } 1 .. 1 + rnd(12) } 1 .. 1500;
my %count;
$count{$_}++ for map { substr $_, 0, 2 } @words;
print join(' ', map { "$_=$count{$_}" } sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count), "\n";
print md5_hex(join ',', sort @words), ' ', md5_hex(join ',', reverse sort { length $a <=> length $b or $a cmp $b } @words), "\n";

my $text = join ' ', @words;
for my $pattern (qr/([aeiou])\1/, qr/\b(\w)\w*\1\b/, qr/(?<first>[a-d]+)(?=[x-z])/, qr/(?i)Q[^u]/, qr/(\w{3,5}?)(\w)\2/, qr/^(?:\w+ ){10}(\w+)/, qr/(?<!a)b(?!c)\w*?e/) {
  my @found = $text =~ /$pattern/g;
  printf "%s: %d %s\n", $pattern, scalar @found, md5_hex(join '|', @found);
}
(my $changed = $text) =~ s/(\w+)/length($1) > 6 ? ucfirst(reverse $1) : $1/ge;
print md5_hex($changed), "\n";
$changed =~ tr/a-y/b-z/;
print md5_hex($changed), "\n";
my $nested = qr/\((?:[^()]++|(??{ our $nested }))*\)/;
our $nested_again = $nested;
print "balanced\n" if '(a(b)c)' =~ /^(\((?:[^()]++|(?1))*\))$/;

for my $i (1 .. 400) {
  my $x = (rnd(2000001) - 1000000) / (1 + rnd(997)) * 10 ** (rnd(40) - 20);
  printf "%.15g %.17e %10.3f %g %a %s\n", $x, $x, abs($x) < 1e15 ? $x : 0, $x, $x, $x if $i % 4 == 0;
  my $y = abs $x;
  printf "%.17g %.17g %.17g %.17g %.17g\n", sqrt $y, log($y + 1e-30), exp(fmod($x, 50)), sin $x, atan2($x, $y + 1) if $i % 4 == 1;
  printf "%d %d %.17g %.17g\n", floor(fmod($x, 1e9)), ceil(fmod($x, 1e9)), $y ** 0.3, fmod($x, 3.7) if $i % 4 == 2;
  printf "%s %s\n", 0 + sprintf('%.10e', $x), "$x" + 0 if $i % 4 == 3;
}
print 9007199254740993 + 0, ' ', 18446744073709551615, ' ', 18446744073709551615 + 1, ' ', -7 % 3, ' ', 7 % -3, ' ', "\n";
print 9223372036854775807 * 3, ' ', 3000000000 * 3000000000, ' ', int(1e20 / 7), ' ', 2 ** 63, ' ', ~0 >> 3, ' ', 1 << 40, "\n";

my $packed = pack 'cCsSlLqQnNvVwdfF a5 A5 Z5 H6 b10 (s<l>)3', -5, 250, -3000, 60000, -2000000000, 4000000000, -2**62, 2**63, 513, 70000, 513, 70000, 300000, 3.14159, 2.71828,
  1e300, 'abc', 'abc', 'abcdefg', 'c0ffee', '1011001110', 1, -2, 3, -4, 5, -6;
print unpack('H*', $packed), "\n";
print join(' ', unpack 'cCsSlLqQnNvVwdfF a5 A5 Z5 H6 b10 (s<l>)3', $packed), "\n";
print unpack('%32C*', $text), ' ', unpack('%64Q*', $packed), "\n";
print sha1_hex($text), ' ', sha256_hex($text), ' ', sha512_hex($text), "\n";

print Math::BigInt->new(150)->bfac, "\n";
print Math::BigInt->new('123456789012345678901234567890')->bpow(7)->bmod('1000000000000000000000000000057'), "\n";
print Math::BigInt->new(3)->bmodpow('12345678901234567890', '98765432109876543211'), ' ', Math::BigInt::bgcd('987654321987654321', '123456789123456789'), "\n";
print Math::BigFloat->new(2)->bsqrt(60), ' ', Math::BigFloat->bpi(60), ' ', Math::BigFloat->new(1)->bexp(50), "\n";
print Math::BigFloat->new('1.5')->blog(undef, 40), ' ', Math::BigFloat->new('0.1')->bpow('0.3', 30), "\n";

# A sieve, a Collatz walk, Ackermann, permutations.
my @composite;
my @primes;
for my $n (2 .. 5000) { next if $composite[$n]; push @primes, $n; for (my $m = $n * $n; $m <= 5000; $m += $n) { $composite[$m] = 1 } }
print scalar @primes, " primes, $primes[-1], ", sum(@primes), "\n";
my ($longest, $at) = (0, 0);
for my $n (1 .. 800) { my ($m, $steps) = ($n, 0); while ($m != 1) { $m = $m % 2 ? 3 * $m + 1 : $m / 2; $steps++ } ($longest, $at) = ($steps, $n) if $steps > $longest }
print "$longest steps from $at\n";
sub ackermann { my ($m, $n) = @_; return $m == 0 ? $n + 1 : $n == 0 ? ackermann($m - 1, 1) : ackermann($m - 1, ackermann($m, $n - 1)) }
no warnings 'recursion';
print ackermann(2, 6), "\n";
my $utf = join '', map { chr(0x100 + rnd(0x2000)) } 1 .. 300;
print length $utf, ' ', do { use bytes; length $utf }, ' ', md5_hex(do { my $copy = uc $utf; utf8::encode($copy); $copy }), ' ', scalar(() = $utf =~ /\p{Lu}/g), "\n";
local $@;
eval { die { code => 42 } };
print "died with $@->{code}\n";
print join(',', map { sprintf '%s', eval $_ // 'undef' } '1/3', '10/3*3', '"abc" x 3', '[1..3]->[1]', '"10" + "20"', '1e3', '0b101', '017', '1_000'), "\n";
