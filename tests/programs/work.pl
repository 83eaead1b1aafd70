# Hashes, regular expressions, sorting, closures, modules, fork: deterministic output.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use JSON::PP;
use List::Util qw(shuffle sum first);
use POSIX qw(:sys_wait_h);
use Storable qw(freeze thaw dclone);

srand(42);
$| = 1;
my %words;
for my $i (1 .. 100_000) {
    my $word = join '', map { chr(97 + ($i * $_ * 7919) % 26) } 1 .. 3 + $i % 5;
    $words{$word}{count}++;
    push @{ $words{$word}{at} }, $i if $i % 10 == 0;
}
my @top = (sort { $words{$b}{count} <=> $words{$a}{count} || $a cmp $b } keys %words)[0 .. 19];
print "$_ $words{$_}{count} ", scalar @{ $words{$_}{at} || [] }, "\n" for @top;

my $copy = thaw(freeze(dclone(\%words)));
print "copied ", scalar(keys %$copy), "\n";
my $json = JSON::PP->new->canonical;
my $text = $json->encode({ map { $_ => $words{$_} } @top });
print sha256_hex($text), " ", $json->encode($json->decode($text)) eq $text ? "same" : "different", "\n";

my @closures = map { my $n = $_; sub { $n += shift; $n } } 1 .. 1000;
print "closures ", sum(map { $_->(3) } @closures), "\n";

my $long = join ' ', map { "item$_=" . $_ * 3 } 1 .. 50_000;
my $total = 0;
$total += $2 while $long =~ /(item\d+)=(\d+)/g;
(my $changed = $long) =~ s/item(\d+)/sprintf("%x", $1)/ge;
print "regex $total ", sha256_hex($changed), "\n";

for my $round (1 .. 5) {
    my %table = map { $_ => [ $_ x 3, { n => $_ } ] } 1 .. 20_000;
    delete $table{$_} for grep { $_ % 3 } keys %table;
    print "round $round ", scalar(keys %table), "\n";
}
pipe(my $reader, my $writer) or die;
my $pid = fork() // die;
if (!$pid) {
    my @made = map { { n => $_, list => [ 1 .. $_ % 10 ] } } 1 .. 20_000;
    print $writer "child ", scalar(@made), "\n";
    close $writer;
    exit 5;
}
close $writer;
print <$reader>;
waitpid($pid, 0);
print "status ", WEXITSTATUS($?), "\n";
exit 3;
