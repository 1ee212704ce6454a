# Mode scd2 does not depend on the order of runs: random histories (inserts, changes,
# deletes, corrected days, several versions a batch) go through random orders of dates, with
# re-runs and runs that are rolled back, and must end as a simple model says that takes the
# days once, in order, with what was last said of each.
#
# Hundreds of histories: the loading functions are called directly, one transaction an
# order.  A few whole runs through etl_run show that the worker does the same.
#
# ETL_SCD2_ORDERS sets how many orders each way of loading goes through, ETL_SEED the seed.
use strict;
use warnings;

use EtlTest;
use Test::More;

my $ORDERS = $ENV{ETL_SCD2_ORDERS} || 7;
my $SEED = $ENV{ETL_SEED} || 20261119;
my $DAYS = 6;
my $KEYS = 25;
srand $SEED;
note "seed $SEED";

# The ways of loading.  at: rows say from when on they hold; version: of two rows for one
# moment the greater counts, and without "at" an older one that comes late does not;
# tracked: a change of b alone makes no version.
my @WAYS = (
	{ name => 'changes', kind => 'changes' },
	{ name => 'changes_tracked', kind => 'changes', tracked => 1 },
	{ name => 'changes_version', kind => 'changes', version => 1 },
	{ name => 'changes_at', kind => 'changes', at => 1 },
	{ name => 'changes_at_version', kind => 'changes', at => 1, version => 1, tracked => 1 },
	{ name => 'ignore', kind => 'snapshot', deletes => 'ignore' },
	{ name => 'close', kind => 'snapshot', deletes => 'close' },
	{ name => 'close_excluded', kind => 'snapshot', deletes => 'close', exclusion => 1 },
	{ name => 'close_tracked', kind => 'snapshot', deletes => 'close', tracked => 1 },
	{ name => 'new_row', kind => 'snapshot', deletes => 'new_row' },
	{ name => 'ignore_at', kind => 'snapshot', deletes => 'ignore', at => 1 },
	{ name => 'close_at', kind => 'snapshot', deletes => 'close', at => 1 },
	{ name => 'new_row_at', kind => 'snapshot', deletes => 'new_row', at => 1, tracked => 1 },
);

# ------------------------------------------------------------------------- the model

sub same
{
	my ($way, $x, $y) = @_;

	return $x->{a} eq $y->{a} && ($way->{tracked} || $x->{b} eq $y->{b});
}

# The history of one key: days is a list, for each day undef (the day was not run) or the
# rows of the key.  Returns lines as the table shows them.
sub model
{
	my ($way, $key, @days) = @_;
	my $snapshot = $way->{kind} eq 'snapshot' && $way->{deletes} ne 'ignore';
	my (%said, @stays, $here, $best);

	foreach my $day (0 .. $#days)
	{
		next unless $days[$day];
		my @rows = @{ $days[$day] };
		if ($snapshot && !@rows && $here)
		{
			$here->{until} = $day;
			# what was announced for later is off
			delete $said{$_} foreach grep { $_ >= $day } keys %said;
			$here = undef;
		}
		push @stays, $here = { since => $day, said => {} } if $snapshot && @rows && !$here;
		foreach my $row (@rows)
		{
			my $moment = $way->{at} ? $row->{at} : $day;
			if ($way->{version})
			{
				next if !$way->{at} && defined $best && $row->{v} < $best;
				next if $way->{at} && $said{$moment} && $said{$moment}{v} > $row->{v};
				$best = $row->{v};
			}
			$said{$moment} = $row;
			$here->{said}{$moment} = $row if $here;
		}
	}
	my @events = map { [ $_, 0, $said{$_} ] } keys %said;
	push @events, map { [ $_->{until}, 2, undef ] } grep { defined $_->{until} } @stays;
	foreach my $stay (@stays[ 1 .. $#stays ])
	{
		my ($latest) = sort { $b <=> $a } grep { $_ <= $stay->{since} } keys %{ $stay->{said} };
		push @events, [ $stay->{since}, 1, $stay->{said}{$latest} ] if defined $latest;
	}
	my (@versions, %taken);
	foreach my $event (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events)
	{
		my ($moment, undef, $row) = @$event;
		next if $taken{$moment}++;
		my $last = $versions[-1];
		next if !$row && (!$last || !$last->{row} && $last->{gone});
		if ($last && !$last->{gone} && $row && same($way, $last->{row}, $row))
		{
			$last->{row} = $row;
			next;
		}
		push @versions, $row ? { from => $moment, row => $row } : { from => $moment, row => $last->{row}, gone => 1 };
		$versions[-1]{gone} ||= 0;
	}
	# two absences in a row are one
	my @merged;
	foreach my $version (@versions)
	{
		push @merged, $version unless @merged && $merged[-1]{gone} && $version->{gone};
	}
	my $number = 0;
	my @lines;
	foreach my $i (0 .. $#merged)
	{
		my $version = $merged[$i];
		next if $version->{gone} && ($way->{deletes} // '') ne 'new_row';
		my $until = $i < $#merged ? $merged[ $i + 1 ]{from} : 'open';
		push @lines, join '|', $key, $version->{row}{a}, $version->{row}{b}, $version->{from}, $until,
		  ($until eq 'open' ? 't' : 'f'), ++$number, ($version->{gone} ? 't' : 'f');
	}
	return @lines;
}

# ------------------------------------------------------------------------ the material

sub pick { return $_[ int rand @_ ]; }

# What one day says: for some keys a row, or several with different "at".
sub random_day
{
	my ($way) = @_;
	my %day;

	return \%day if rand() < 0.05;
	foreach my $key (1 .. $KEYS)
	{
		next if rand() < ($way->{kind} eq 'snapshot' ? 0.3 : 0.5);
		my %at;
		$at{ int(rand($DAYS + 3)) - 1 } = 1 for 1 .. ($way->{at} ? 1 + int rand 3 : 1);
		$day{$key} = [ map { { a => pick(qw(x y z -)), b => pick('p', 'q'), at => $_, v => int rand 4 } } sort keys %at ];
	}
	return \%day;
}

sub insert_day
{
	my ($day, $rows) = @_;
	my @values;

	foreach my $key (sort { $a <=> $b } keys %$rows)
	{
		push @values, map { sprintf "(%d, %d, nullif('%s', '-'), '%s', %d, %d)", $day, $key, @$_{qw(a b at v)} } @{ $rows->{$key} };
	}
	return "DELETE FROM sc.raw WHERE day = $day;\n"
	  . (@values ? 'INSERT INTO sc.raw VALUES ' . join(', ', @values) . ";\n" : '');
}

# Random runs in random order; returns the SQL and what was last said of each day.
sub random_order
{
	my ($way) = @_;
	my @final;
	my $sql = "BEGIN;\nTRUNCATE sc.raw, sc.$way->{name}, sc.obs_$way->{name}, sc.snp_$way->{name};\n";
	my @order = sort { rand() <=> 0.5 } 0 .. $DAYS - 1;

	splice @order, int(rand(@order + 1)), 0, pick(0 .. $DAYS - 1) for 1 .. 6;
	pop @order if rand() < 0.2;    # then perhaps not all days were run
	foreach my $day (@order)
	{
		# a re-run finds what it found before, or a corrected day
		my $rows = $final[$day] && rand() < 0.3 ? $final[$day] : random_day($way);
		if ($final[$day] && rand() < 0.5)
		{
			# a correction of a few keys
			my %mixed = %{ $final[$day] };
			foreach my $key (grep { rand() < 0.2 } 1 .. $KEYS)
			{
				delete $mixed{$key};
				$mixed{$key} = $rows->{$key} if $rows->{$key};
			}
			$rows = \%mixed;
		}
		if (rand() < 0.15)
		{
			# a run that does not come to its end leaves nothing
			$sql .= "SAVEPOINT killed;\n" . insert_day($day, random_day($way)) . "SELECT sc.go('$way->{name}', $day);\nROLLBACK TO killed;\n";
		}
		$sql .= insert_day($day, $rows) . "SELECT sc.go('$way->{name}', $day);\n";
		$final[$day] = $rows;
	}
	$sql .= "SELECT sc.dump('$way->{name}');\nCOMMIT";
	return ($sql, @final);
}

sub wanted
{
	my ($way, @final) = @_;
	my @lines;

	foreach my $key (1 .. $KEYS)
	{
		push @lines, model($way, $key, map { $_ ? ($_->{$key} // []) : undef } @final);
	}
	return join "\n", @lines;
}

# ------------------------------------------------------------------------- the cluster

my $node = make_node('main');
run_sql($node, <<'SQL');
CREATE SCHEMA sc;
CREATE TABLE sc.raw (day integer, id integer, a text, b text, at integer, v integer);
CREATE FUNCTION sc.day(integer) RETURNS date LANGUAGE sql IMMUTABLE AS $$ SELECT date '2026-03-01' + $1 $$;
-- one run, as the worker publishes it; a version that is there before and after keeps its key
CREATE FUNCTION sc.go(way text, day integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	moved bigint;
BEGIN
	PERFORM etl._set_context(NULL, sc.day(day)::timestamp AT TIME ZONE 'UTC', sc.day(day + 1)::timestamp AT TIME ZONE 'UTC', sc.day(day));
	EXECUTE format('CREATE TEMPORARY TABLE before ON COMMIT DROP AS SELECT * FROM sc.%I', way);
	PERFORM etl._load_target('sc', 'sc.' || way, 'UTC', (SELECT t.definition FROM etl.tasks t WHERE t.task = 'sc.' || way), to_regclass('sc.' || way), NULL);
	EXECUTE format('SELECT count(*) FROM before b JOIN sc.%1$I t USING (id, valid_from) WHERE b.%2$I <> t.%2$I', way, way || '_key') INTO moved;
	ASSERT moved = 0, 'surrogate keys changed';
	DROP TABLE before;
END $$;
CREATE FUNCTION sc.dump(way text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	crossing bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (SELECT valid_to > lead(valid_from) OVER (PARTITION BY id ORDER BY valid_from) AS o FROM sc.%I) x WHERE o', way) INTO crossing;
	ASSERT crossing = 0, 'versions overlap';
	RETURN QUERY EXECUTE format('SELECT concat_ws(''|'', id, coalesce(a, ''-''), b, valid_from::date - sc.day(0),
			CASE WHEN valid_to = ''infinity'' THEN ''open'' ELSE (valid_to::date - sc.day(0))::text END,
			CASE WHEN is_current THEN ''t'' ELSE ''f'' END, version_number, CASE WHEN %s THEN ''t'' ELSE ''f'' END)
		FROM sc.%I ORDER BY id, valid_from', CASE WHEN way ~ '^new_row' THEN 'is_deleted' ELSE 'false' END, way);
END $$;
SELECT etl.create_pipeline('sc');
SQL
# an exclusion constraint instead of the trigger, where it can be had
my $gist = value($node, q(SELECT count(*) FROM pg_available_extensions WHERE name = 'btree_gist'));
run_sql($node, 'CREATE EXTENSION btree_gist') if $gist;
foreach my $way (@WAYS)
{
	my @options = (qq("open_end": "infinity"));
	push @options, qq("effective_at": "at") if $way->{at};
	push @options, qq("deletes": "$way->{deletes}") if $way->{deletes};
	push @options, '"exclusion": true' if $way->{exclusion} && $gist;
	push @options, qq("tracked": ["a"]) if $way->{tracked};
	my $columns = 'id, a, b' . ($way->{at} ? ', sc.day(at) AS at' : '') . ($way->{version} ? ', v' : '');
	my $version = $way->{version} ? ", version => 'v'" : '';
	my $options = join ', ', @options;
	run_sql($node, <<SQL);
CREATE VIEW sc.txf_$way->{name} AS SELECT $columns FROM sc.raw WHERE sc.day(day) = etl.run_date();
SELECT etl.add_load('sc', 'sc.$way->{name}', 'scd2', key => '{id}', source_kind => '$way->{kind}'$version, options => '{$options}');
SQL
}

# ---------------------------------------------------------------------- random orders

my $session = session($node);
my $began = now();
foreach my $way (@WAYS)
{
	my $good = 0;
	foreach my $order (1 .. $ORDERS)
	{
		my ($sql, @final) = random_order($way);
		my $result = $session->query("SET client_min_messages = error;\n$sql", 120);
		(my $got = $result->{out}) =~ s/^\n+|\n+\z//g;
		$got =~ s/\n{2,}/\n/g;
		my $wanted = wanted($way, @final);
		if ($result->{state} eq '00000' && $got eq $wanted)
		{
			$good++;
			next;
		}
		diag("$way->{name}, order $order, seed $SEED: $result->{err}");
		my %got = map { $_ => 1 } split /\n/, $got;
		my %wanted = map { $_ => 1 } split /\n/, $wanted;
		diag("  missing $_") foreach grep { !$got{$_} } split /\n/, $wanted;
		diag("  wrong   $_") foreach grep { !$wanted{$_} } split /\n/, $got;
		diag($sql) if $ENV{ETL_SHOW_SQL};
		$session->query('ROLLBACK');
		last;
	}
	is($good, $ORDERS, sprintf '%s: %d histories through %d orders end as in order', $way->{name}, $good * $KEYS, $ORDERS);
}
note sprintf '%.1f s for %d histories', now() - $began, @WAYS * $ORDERS * $KEYS;
$session->close;

# ------------------------------------------------------------------------- whole runs

# Two ways, all days in random order with a re-run, by the workers, all targets in one run.
my ($changes, $close) = map { my $name = $_; grep { $_->{name} eq $name } @WAYS } 'changes_at', 'close';
run_sql($node, 'TRUNCATE sc.raw, ' . join(', ', map { ("sc.$_->{name}", "sc.obs_$_->{name}", "sc.snp_$_->{name}") } @WAYS));
my @final;
foreach my $day ((sort { rand() <=> 0.5 } 0 .. $DAYS - 1), 1, 3)
{
	$final[$day] = random_day($close);
	run_sql($node, insert_day($day, $final[$day]));
	my $state = value($node, "SELECT state FROM etl_run(sc.day($day), 'sc')");
	is($state, 'success', "a run of day $day") or diag(value($node, q(SELECT error FROM etl.runs ORDER BY run_id DESC LIMIT 1)));
}
is(value($node, "SELECT sc.dump('$_->{name}')"), wanted($_, @final), "$_->{name}: whole runs in random order") foreach $changes, $close;
my $again = value($node, "SELECT inserted, updated, deleted FROM etl_run(sc.day(2), 'sc')");
is($again, '0|0|0', 'a run again changes nothing');

# Runs that are stopped in the middle, and then run again with other rows: see 021.
my $stop = 0;
foreach my $publish ('pipeline', 'per_task')
{
	run_sql($node, "SELECT etl.alter_pipeline('sc', publish => '$publish', max_crashes => 100)");
	run_sql($node, 'TRUNCATE sc.raw, ' . join(', ', map { ("sc.$_->{name}", "sc.obs_$_->{name}", "sc.snp_$_->{name}") } @WAYS));
	@final = ();
	my $stopped = 0;
	foreach my $day ((sort { rand() <=> 0.5 } 0 .. $DAYS - 1), map { int rand $DAYS } 1 .. 4)
	{
		run_sql($node, insert_day($day, random_day($close)));
		$stopped++ unless stop_run($node, "SELECT state FROM etl_run(sc.day($day), 'sc')", $stop++, rand 0.5);
		$final[$day] = random_day($close);
		run_sql($node, insert_day($day, $final[$day]));
		my $result = run_sql($node, "SELECT state FROM etl_run(sc.day($day), 'sc')", may_fail => 1);
		is($result->{out}, 'success', "$publish: day $day after a run that was stopped") or diag($result->{err});
	}
	cmp_ok($stopped, '>', 0, "$publish: $stopped runs were stopped before their end");
	is(value($node, "SELECT sc.dump('$_->{name}')"), wanted($_, @final), "$publish, $_->{name}: with runs that were stopped") foreach $changes, $close;
}

done_testing();
