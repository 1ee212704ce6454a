# Schedules over ten years of daylight saving, beside a model of Vixie's cron: hours that are
# skipped, hours that come twice, and Lord Howe's half hour.
use strict;
use warnings;

use EtlTest;
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('main');
my @schedules = (
	'30 2 * * *', '0 2 * * *', '0 3 * * *', '15 1,2,3 * * *', '45 1 * * 0', '*/20 * * * *', '0 */2 * * *', '*/7 1-3 * * *', '10 * * * *',
	'0 0 * * *', '5 0-4 * mar,apr,oct,nov *', '0 3 1 * *', '10 2 29 2 *', '0 0 13 * 5', '30 1 * * sun', '59 23 31 12 *');

foreach my $zone ('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe')
{
	my ($model, $err) = run_command(['python3', dirname(__FILE__) . '/vixie_cron.py', $zone, 2020, 2030, @schedules]);
	is($err, '', "the model of cron runs, $zone");
	my @expected = split /\n/, $model;
	foreach my $schedule (@schedules)
	{
		my @theirs = split / /, shift @expected;
		my @ours = split / /, value($node, "SELECT string_agg(extract(epoch FROM t)::bigint::text, ' ' ORDER BY t) "
			  . "FROM etl.schedule_ticks('$schedule', '$zone', '2020-01-01', '2030-01-01', 1000000) t");
		my %theirs = map { $_ => 1 } @theirs;
		my %ours = map { $_ => 1 } @ours;
		my @differences = sort { $a <=> $b } ((grep { !$ours{$_} } @theirs), (grep { !$theirs{$_} } @ours));
		ok(@ours > 0 && @ours == @theirs && !@differences, sprintf('%s %s: %d ticks', $zone, $schedule, scalar @theirs))
		  or diag(sprintf('%d here, %d there; first difference at %s', scalar @ours, scalar @theirs, join ' ', map { scalar gmtime } @differences[0 .. 2]));
	}
}

$node->stop;
done_testing();
