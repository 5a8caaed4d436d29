# What Perl programs do: lines, regular expressions, hashes, substitution, sorting.
use strict;
use warnings;

open my $file, '<', '/mnt/text' or die;
my (%count, %after, $last, $vowels);
$last = '';
while (my $line = <$file>) {
    last if $. > 2500;
    $vowels += () = $line =~ /[aeiou]/g;
    for my $word (split /\W+/, lc $line) {
        next if $word eq '';
        $count{$word}++;
        $after{"$last $word"}++;
        $last = $word;
    }
    $line =~ s/(\w+) (\w+)/$2 $1/g;
    $vowels += length $line;
}
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my @pairs = sort { $after{$b} <=> $after{$a} || $a cmp $b } keys %after;
print "$vowels @top[0..9] @pairs[0..4] ", scalar(@pairs), "\n";
