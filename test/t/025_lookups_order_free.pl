# Surrogate keys in facts do not depend on the order of runs: the days of two dimensions (mode
# scd2 over changes and over snapshots) and of facts in several modes are said, corrected,
# withdrawn and run in random order, each load by itself, some rolled back.  After a last run of
# the facts, of whatever day, every row must point at the version that held on its day, or at
# the unknown member, as a simple model says that knows only what was last said of each day.
#
# ETL_LOOKUP_ORDERS sets how many orders are gone through, ETL_SEED the seed.
use strict;
use warnings;

use EtlTest;
use Test::More;

my $ORDERS = $ENV{ETL_LOOKUP_ORDERS} || 12;
my $SEED = $ENV{ETL_SEED} || 20261121;
my $DAYS = 6;
my $MEMBERS = 8;
my $FACTS = 20;
srand $SEED;
note "seed $SEED";

my @DIMENSIONS = qw(dim_changes dim_close);
my %FACTS = (fact_last => "'incremental', key => '{id}'", fact_first => "'delta', key => '{id}'", fact_rows => "'delta'",
	fact_day => "'partition', key => '{id}', partition_by => 'day'");

sub pick { return $_[ int rand @_ ]; }

# ------------------------------------------------------------------------- the model

# What held on a day, by the days that were run: the last said, unless a snapshot lacked it since.
sub member_on
{
	my ($dimension, $member, $on, @said) = @_;
	my $name = '-';

	foreach my $day (grep { $said[$_] } 0 .. $on)
	{
		$name = $said[$day]{$member} if exists $said[$day]{$member};
		$name = '-' if $dimension eq 'dim_close' && !exists $said[$day]{$member};
	}
	return $name;
}

sub wanted
{
	my ($fact, $facts, $dimensions) = @_;
	my (%counting, @rows);

	foreach my $day (grep { $facts->[$_] } 0 .. $DAYS - 1)
	{
		foreach my $id (keys %{ $facts->[$day] })
		{
			my $row = { %{ $facts->[$day]{$id} }, id => $id, day => $day };
			push @rows, $row;
			$counting{$id} = $row if $fact eq 'fact_last' || !$counting{$id};
		}
	}
	@rows = values %counting if $fact =~ /first|last/;
	return join "\n", sort map {
		my $row = $_;
		join '|', $row->{day}, $row->{id}, map { defined $row->{member} ? member_on($_, $row->{member}, $row->{on}, @{ $dimensions->{$_} }) : '-' } @DIMENSIONS
	} @rows;
}

# ------------------------------------------------------------------------ the material

sub random_members { return { map { $_ => pick(qw(x y z)) } grep { rand() < 0.4 } 1 .. $MEMBERS }; }

sub random_facts { return { map { $_ => { member => pick(undef, 1 .. $MEMBERS), on => int rand $DAYS } } grep { rand() < 0.5 } 1 .. $FACTS }; }

sub corrected
{
	my ($before, $new) = @_;

	return $new if !$before || rand() < 0.3;
	my %mixed = %$before;
	foreach my $id (grep { rand() < 0.3 } keys %mixed, keys %$new)
	{
		delete $mixed{$id};
		$mixed{$id} = $new->{$id} if $new->{$id};
	}
	return \%mixed;
}

sub say_members
{
	my ($dimension, $day, $rows) = @_;
	my @values = map { "('$dimension', $day, $_, '$rows->{$_}')" } sort keys %$rows;

	return "DELETE FROM lo.member_says WHERE dimension = '$dimension' AND day = $day;\n" . (@values ? 'INSERT INTO lo.member_says VALUES ' . join(', ', @values) . ";\n" : '')
	  . "SELECT lo.go('$dimension', $day);\n";
}

sub say_facts
{
	my ($day, $rows) = @_;
	my @values = map { sprintf '(%d, %d, %s, %d)', $day, $_, $rows->{$_}{member} // 'NULL', $rows->{$_}{on} } sort keys %$rows;

	return "DELETE FROM lo.fact_says WHERE day = $day;\n" . (@values ? 'INSERT INTO lo.fact_says VALUES ' . join(', ', @values) . ";\n" : '');
}

sub run_facts { my ($day) = @_; return map { "SELECT lo.go('$_', $day);\n" } sort keys %FACTS; }

sub random_order
{
	my (@facts, %dimensions);
	my $sql = "BEGIN;\nSELECT lo.clear();\n";
	my @order = map { my $day = $_; map { [ $_, $day ] } @DIMENSIONS, 'facts' } 0 .. $DAYS - 1;

	push @order, [ pick(@DIMENSIONS, 'facts'), int rand $DAYS ] for 1 .. 8;
	foreach my $step (sort { rand() <=> 0.5 } @order)
	{
		my ($what, $day) = @$step;
		my $killed = rand() < 0.15;
		$sql .= "SAVEPOINT killed;\n" if $killed;
		if ($what eq 'facts')
		{
			my $rows = corrected($facts[$day], random_facts());
			$sql .= join '', say_facts($day, $rows), run_facts($day);
			$facts[$day] = $rows unless $killed;
		}
		else
		{
			my $rows = corrected($dimensions{$what}[$day], random_members());
			$sql .= say_members($what, $day, $rows);
			$dimensions{$what}[$day] = $rows unless $killed;
		}
		$sql .= "ROLLBACK TO killed;\n" if $killed;
	}
	# the next run of the facts, whatever it is of, puts right what came late
	my @known = grep { $facts[$_] } 0 .. $DAYS - 1;
	$sql .= join '', run_facts(pick(@known ? @known : 0));
	$facts[0] //= {} unless @known;
	return ($sql, \@facts, \%dimensions);
}

# ------------------------------------------------------------------------- the cluster

my $node = make_node('main');
run_sql($node, <<'SQL');
CREATE SCHEMA lo;
CREATE TABLE lo.member_says (dimension text, day integer, member integer, name text);
CREATE TABLE lo.fact_says (day integer, id integer, member integer, happened_on integer);
CREATE FUNCTION lo.day(integer) RETURNS date LANGUAGE sql IMMUTABLE AS $$ SELECT date '2026-03-01' + $1 $$;
CREATE FUNCTION lo.go(name text, day integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM etl._set_context(NULL, lo.day(day)::timestamp AT TIME ZONE 'UTC', lo.day(day + 1)::timestamp AT TIME ZONE 'UTC', lo.day(day));
	PERFORM etl._load_target('lo', 'lo.' || go.name, 'UTC', (SELECT t.definition FROM etl.tasks t WHERE t.task = 'lo.' || go.name), to_regclass('lo.' || go.name), NULL);
END $$;
CREATE FUNCTION lo.clear() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE (SELECT 'TRUNCATE ' || string_agg(c.oid::regclass::text, ', ') FROM pg_class c WHERE c.relnamespace = 'lo'::regnamespace AND c.relkind IN ('r', 'p'));
END $$;
CREATE FUNCTION lo.dump(fact text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT concat_ws(''|'', f.day - lo.day(0), f.id, coalesce(a.name, ''-''), coalesce(b.name, ''-'')) COLLATE "C"
		FROM lo.%I f JOIN lo.dim_changes a ON a.dim_changes_key = f.changes_key JOIN lo.dim_close b ON b.dim_close_key = f.close_key ORDER BY 1', fact);
END $$;
SELECT etl.create_pipeline('lo');
SQL
foreach my $dimension (@DIMENSIONS)
{
	my $kind = $dimension eq 'dim_close' ? 'snapshot' : 'changes';
	run_sql($node, <<SQL);
CREATE VIEW lo.txf_$dimension AS SELECT member, name FROM lo.member_says WHERE dimension = '$dimension' AND lo.day(day) = etl.run_date();
SELECT etl.add_load('lo', 'lo.$dimension', 'scd2', key => '{member}', source_kind => '$kind', options => '{"unknown_member": true}');
SQL
}
foreach my $fact (sort keys %FACTS)
{
	run_sql($node, <<SQL);
CREATE VIEW lo.txf_$fact AS SELECT lo.day(day) AS day, id, member, lo.day(happened_on) AS happened_on FROM lo.fact_says WHERE lo.day(day) = etl.run_date();
SELECT etl.add_load('lo', 'lo.$fact', $FACTS{$fact}, options => '{"lookups": {
	"changes_key": {"dimension": "lo.dim_changes", "key": ["member"], "as_of": "happened_on"}, "close_key": {"dimension": "lo.dim_close", "key": ["member"], "as_of": "happened_on"}}}');
SQL
}

my $session = session($node);
my %good;
foreach my $order (1 .. $ORDERS)
{
	my ($sql, $facts, $dimensions) = random_order();
	my $result = $session->query("SET client_min_messages = error;\n$sql", 120);
	is($result->{state}, '00000', "order $order") or diag("seed $SEED: $result->{err}"), last;
	foreach my $fact (sort keys %FACTS)
	{
		my $result = $session->query("SELECT lo.dump('$fact')", 60);
		(my $got = $result->{out}) =~ s/^\n+|\n+\z//g;
		my $wanted = wanted($fact, $facts, $dimensions);
		if ($got eq $wanted)
		{
			$good{$fact}++;
			next;
		}
		my %count;
		$count{$_}++ foreach split /\n/, $wanted;
		$count{$_}-- foreach split /\n/, $got;
		diag("$fact, order $order, seed $SEED: $result->{err}");
		diag(sprintf '  %s %s', $count{$_} > 0 ? 'missing' : 'wrong', $_) foreach grep { $count{$_} } sort keys %count;
		diag($sql) if $ENV{ETL_SHOW_SQL};
	}
	$session->query('COMMIT');
}
is($good{$_}, $ORDERS, "$_: facts point at the versions that held, whatever came late") foreach sort keys %FACTS;
is(value($node, 'SELECT count(*) FROM lo.lkp_fact_last'), 0, 'nothing is left to look up');
$session->close;

done_testing();
