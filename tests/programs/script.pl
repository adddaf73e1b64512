#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Temp qw(tempfile);
use POSIX qw(floor);
my %count;
$count{length $_}++ for split / /, "the quick brown fox jumps over the lazy dog";
print join(", ", map {"$_=$count{$_}"} sort keys %count), "\n";
my ($fh, $name) = tempfile(DIR => "/tmp", UNLINK => 1);
print $fh "line $_\n" for 1 .. 100;
close $fh;
open my $in, '<', $name or die;
my @lines = <$in>;
close $in;
print scalar(@lines), " ", md5_hex(join "", @lines), " ", floor(3.7), "\n";
my $text = "2026-11-28";
print "$3/$2/$1\n" if $text =~ /^(\d+)-(\d+)-(\d+)$/;
eval { die "caught\n" };
print "error: $@";
exit 11;
