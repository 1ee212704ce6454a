# Every load mode but scd2 (020 has that), against a simple model: random days, in random
# orders, with days run again with the same, corrected or withdrawn rows, and runs that do not
# come to their end.  The table must be what running each day once, in order, with what was
# last said of it, would give.
#
# Most loads are called directly, one transaction an order; some whole runs by the workers
# show that these do the same.
#
# ETL_MODE_ORDERS sets how many orders each way of loading goes through, ETL_SEED the seed.
use strict;
use warnings;

use EtlTest;
use Test::More;

my $ORDERS = $ENV{ETL_MODE_ORDERS} || 5;
my $SEED = $ENV{ETL_SEED} || 20261121;
my $DAYS = 6;
my $KEYS = 20;
srand $SEED;
note "seed $SEED";

# The ways of loading.  rows: how many rows of a key a day may have.
my $key = "key => '{id}'";
my $snapshot = "$key, source_kind => 'snapshot'";
my @WAYS = (
	{ name => 'state', declare => "'full', $key", model => \&latest_day },
	{ name => 'state_rows', declare => "'full'", rows => 3, model => \&latest_day },
	{ name => 'partition', declare => "'partition', $key, partition_by => 'day'", columns => 'day, id, a, v', model => \&all_days },
	{ name => 'partition_rows', declare => "'partition', partition_by => 'day'", columns => 'day, id, a, v', rows => 3, model => \&all_days },
	{ name => 'delta_key', declare => "'delta', $key", model => \&first_said },
	{ name => 'delta_rows', declare => "'delta'", rows => 3, model => \&all_days },
	{ name => 'changes', declare => "'incremental', $key", model => \&best_said },
	{ name => 'changes_version', declare => "'incremental', $key, version => 'v'", version => 1, model => \&best_said },
	{ name => 'latest', declare => "'incremental', $key, on_duplicate => 'latest', order_by => '{v}'", rows => 3, model => \&best_said },
	{ name => 'ignored', declare => "'incremental', $snapshot, deletes => 'ignore'", model => \&best_said },
	{ name => 'deleted', declare => "'incremental', $snapshot, deletes => 'delete'", deletes => 'delete', model => \&best_said },
	{ name => 'deleted_version', declare => "'incremental', $snapshot, version => 'v'", deletes => 'delete', version => 1, model => \&best_said },
	{ name => 'marked', declare => "'incremental', $snapshot, deletes => 'mark'", deletes => 'mark', model => \&best_said },
	{ name => 'children', children => 1, rows => 4, model => \&children },
	{ name => 'children_version', children => 1, version => 1, rows => 4, model => \&children },
);

# ------------------------------------------------------------------------- the models
#
# A day is undef when it was not run, else a hash from key to rows { a, v }.  A model
# returns lines as the table shows them.

sub line
{
	my ($way, $id, $row, $day, $gone) = @_;

	return join '|', ($way->{columns} ? $day : ()), $id, $row->{a}, $row->{v} // '-', $gone // ();
}

sub rank { my ($row) = @_; return $row->{v} // -1; }

# of several rows of a key on one day, the one that counts
sub latest_of { my ($best) = sort { rank($b) <=> rank($a) } @_; return $best; }

sub latest_day
{
	my ($way, @days) = @_;
	my ($last) = grep { $days[$_] } reverse 0 .. $#days;

	return unless defined $last;
	return map { my $id = $_; map { line($way, $id, $_) } @{ $days[$last]{$id} } } keys %{ $days[$last] };
}

sub all_days
{
	my ($way, @days) = @_;

	return map {
		my $day = $_;
		map { my $id = $_; map { line($way, $id, $_, $day) } @{ $days[$day]{$id} } } keys %{ $days[$day] }
	} grep { $days[$_] } 0 .. $#days;
}

sub first_said
{
	my ($way, @days) = @_;
	my %said;

	foreach my $day (grep { $_ } @days)
	{
		$said{$_} //= $day->{$_}[0] foreach keys %$day;
	}
	return map { line($way, $_, $said{$_}) } keys %said;
}

sub best_said
{
	my ($way, @days) = @_;
	my (%said, %last, @run);

	foreach my $day (grep { $days[$_] } 0 .. $#days)
	{
		push @run, $day;
		foreach my $id (keys %{ $days[$day] })
		{
			my $row = latest_of(@{ $days[$day]{$id} });
			$said{$id} = $row unless $way->{version} && $said{$id} && rank($said{$id}) > rank($row);
			$last{$id} = $day;
		}
	}
	my @lines;
	foreach my $id (keys %said)
	{
		my ($gone) = grep { $_ > $last{$id} } @run;
		next if defined $gone && ($way->{deletes} // '') eq 'delete';
		push @lines, line($way, $id, $said{$id}, undef, ($way->{deletes} // '') eq 'mark' ? $gone // 'here' : undef);
	}
	return @lines;
}

# The first row of a key is the parent, the others are its children.
sub children
{
	my ($way, @days) = @_;
	my %best;

	foreach my $day (grep { $_ } @days)
	{
		foreach my $id (keys %$day)
		{
			$best{$id} = $day->{$id} unless $way->{version} && $best{$id} && rank($best{$id}[0]) > rank($day->{$id}[0]);
		}
	}
	my @lines;
	foreach my $id (keys %best)
	{
		push @lines, map { join '|', $id, $_, $best{$id}[$_]{a} } 1 .. $#{ $best{$id} };
	}
	return @lines;
}

# ------------------------------------------------------------------------ the material

sub pick { return $_[ int rand @_ ]; }

sub random_day
{
	my ($way) = @_;
	my %day;

	return \%day if rand() < 0.05;
	foreach my $id (grep { rand() < 0.6 } 1 .. $KEYS)
	{
		my $rows = 1 + int rand($way->{rows} // 1);
		my $v = int rand 3;
		# with several rows of a key, which is the latest is never in doubt
		$day{$id} = [ map { { a => pick(qw(x y z -)), v => $rows > 1 && $way->{name} eq 'latest' ? $v + $_ : pick(undef, 0 .. 2) } } 1 .. $rows ];
	}
	return \%day;
}

sub insert_day
{
	my ($way, $day, $rows) = @_;
	my @values;

	foreach my $id (sort { $a <=> $b } keys %$rows)
	{
		my $n = 0;
		push @values, map { sprintf "('%s', %d, %d, %d, nullif('%s', '-'), %s)", $way->{name}, $day, $id, $n++, $_->{a}, $_->{v} // 'NULL' } @{ $rows->{$id} };
	}
	return "DELETE FROM om.raw WHERE way = '$way->{name}' AND day = $day;\n" . (@values ? 'INSERT INTO om.raw VALUES ' . join(', ', @values) . ";\n" : '');
}

sub run_day { my ($way, $day) = @_; return join '', map { "SELECT om.go('$_', $day);\n" } tables($way); }

sub tables { my ($way) = @_; return $way->{children} ? ("$way->{name}_parent", $way->{name}) : $way->{name}; }

# A day as it was, as corrected in part, or another one altogether.
sub next_version
{
	my ($way, $before) = @_;
	my $rows = random_day($way);

	return $rows if !$before || rand() < 0.3;
	return $before if rand() < 0.3;
	my %mixed = %$before;
	foreach my $id (grep { rand() < 0.2 } 1 .. $KEYS)
	{
		delete $mixed{$id};
		$mixed{$id} = $rows->{$id} if $rows->{$id};
	}
	return \%mixed;
}

sub random_order
{
	my ($way) = @_;
	my @final;
	my $sql = "BEGIN;\n" . join '', map { "SELECT om.clear('$_');\n" } tables($way);
	my @order = sort { rand() <=> 0.5 } 0 .. $DAYS - 1;

	splice @order, int(rand(@order + 1)), 0, pick(0 .. $DAYS - 1) for 1 .. 5;
	pop @order if rand() < 0.2;    # then perhaps not all days were run
	foreach my $day (@order)
	{
		if (rand() < 0.15)
		{
			# a run that does not come to its end leaves nothing
			$sql .= "SAVEPOINT killed;\n" . insert_day($way, $day, random_day($way)) . run_day($way, $day) . "ROLLBACK TO killed;\n";
		}
		$final[$day] = next_version($way, $final[$day]);
		$sql .= insert_day($way, $day, $final[$day]) . run_day($way, $day);
	}
	$sql .= "SELECT om.dump('$way->{name}');\nCOMMIT";
	return ($sql, @final);
}

sub wanted { my ($way, @final) = @_; return join "\n", sort $way->{model}->($way, @final); }

# ------------------------------------------------------------------------- the cluster

my $node = make_node('main');
run_sql($node, <<'SQL');
CREATE SCHEMA om;
CREATE TABLE om.raw (way text, day integer, id integer, n integer, a text, v integer);
CREATE TABLE om.reached (task text PRIMARY KEY, at timestamptz);
CREATE FUNCTION om.day(integer) RETURNS date LANGUAGE sql IMMUTABLE AS $$ SELECT date '2026-03-01' + $1 $$;
-- one load, as the worker publishes it; its counts add up
CREATE FUNCTION om.go(way text, day integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	since timestamptz := om.day(day)::timestamp AT TIME ZONE 'UTC';
	before bigint;
	after bigint;
	counts etl._load_counts;
	marked bigint := 0;
BEGIN
	PERFORM etl._set_context(NULL, since, since + interval '1 day', om.day(day));
	EXECUTE format('SELECT count(*) FROM om.%I', way) INTO before;
	counts := etl._load_target('om', 'om.' || way, 'UTC', (SELECT t.definition FROM etl.tasks t WHERE t.task = 'om.' || way), to_regclass('om.' || way),
		(SELECT at FROM om.reached l WHERE l.task = way));
	INSERT INTO om.reached VALUES (way, since) ON CONFLICT (task) DO UPDATE SET at = greatest(om.reached.at, excluded.at);
	EXECUTE format('SELECT count(*) FROM om.%I', way) INTO after;
	ASSERT way = 'marked' OR after = before + counts.inserted - counts.deleted, 'the counts do not add up';
	ASSERT way <> 'marked' OR after = before + counts.inserted OR counts.deleted > 0, 'the counts do not add up';
END $$;
CREATE FUNCTION om.clear(way text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	relation regclass;
BEGIN
	DELETE FROM om.raw r WHERE r.way = clear.way;
	DELETE FROM om.reached WHERE task = way;
	FOR relation IN SELECT to_regclass(format('om.%I', p || way)) FROM unnest('{"",obs_,snp_}'::text[]) p LOOP
		IF relation IS NOT NULL THEN
			EXECUTE format('TRUNCATE %s', relation);
		END IF;
	END LOOP;
END $$;
CREATE FUNCTION om.dump(way text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT concat_ws(''|'', %s) COLLATE "C" FROM om.%I ORDER BY 1',
		CASE WHEN way ~ '^children' THEN $c$id, n, coalesce(a, '-')$c$
			 WHEN way ~ '^partition' THEN $c$day - om.day(0), id, coalesce(a, '-'), coalesce(v::text, '-')$c$
			 ELSE $c$id, coalesce(a, '-'), coalesce(v::text, '-')$c$
				|| CASE WHEN way = 'marked' THEN $c$, CASE WHEN is_deleted THEN (deleted_at::date - om.day(0))::text WHEN deleted_at IS NULL THEN 'here' END$c$ ELSE '' END END, way);
END $$;
SELECT etl.create_pipeline('om');
SQL
foreach my $way (@WAYS)
{
	my $today = "FROM om.raw WHERE way = '$way->{name}' AND om.day(day) = etl.run_date()";
	if ($way->{children})
	{
		my $version = $way->{version} ? ", version => 'v'" : '';
		run_sql($node, <<SQL);
CREATE VIEW om.txf_$way->{name}_parent AS SELECT id, v $today AND n = 0;
CREATE VIEW om.txf_$way->{name} AS SELECT id, n, a $today AND n > 0;
SELECT etl.add_load('om', 'om.$way->{name}_parent', 'incremental', $key$version);
SELECT etl.add_load('om', 'om.$way->{name}', 'incremental', key => '{id,n}', parent => 'om.$way->{name}_parent', parent_key => '{id}');
SQL
		next;
	}
	my $columns = $way->{columns} ? 'om.day(day) AS day, id, a, v' : 'id, a, v';
	run_sql($node, <<SQL);
CREATE VIEW om.txf_$way->{name} AS SELECT $columns $today;
SELECT etl.add_load('om', 'om.$way->{name}', $way->{declare});
SQL
}

# ---------------------------------------------------------------------- random orders

sub differences
{
	my ($got, $wanted) = @_;
	my %count;

	$count{$_}++ foreach split /\n/, $wanted;
	$count{$_}-- foreach split /\n/, $got;
	diag(sprintf '  %s %s', $count{$_} > 0 ? 'missing' : 'wrong', $_) foreach grep { $count{$_} } sort keys %count;
}

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
		differences($got, $wanted);
		diag($sql) if $ENV{ETL_SHOW_SQL};
		$session->query('ROLLBACK');
		last;
	}
	is($good, $ORDERS, sprintf '%s: %d histories through %d orders end as in order', $way->{name}, $good * $KEYS, $ORDERS);
}
note sprintf '%.1f s for %d histories', now() - $began, @WAYS * $ORDERS * $KEYS;
$session->close;

# ------------------------------------------------------------------------- whole runs

# All ways in one pipeline, all days in random order with re-runs, by the workers.
run_sql($node, join '', map { "SELECT om.clear('$_');\n" } map { tables($_) } @WAYS);
my %final;
foreach my $day ((sort { rand() <=> 0.5 } 0 .. $DAYS - 1), 1, 3)
{
	foreach my $way (@WAYS)
	{
		$final{ $way->{name} }[$day] = next_version($way, $final{ $way->{name} }[$day]);
		run_sql($node, insert_day($way, $day, $final{ $way->{name} }[$day]));
	}
	my $state = value($node, "SELECT state FROM etl_run(om.day($day), 'om')");
	is($state, 'success', "a run of day $day") or diag(value($node, q(SELECT error FROM etl.runs ORDER BY run_id DESC LIMIT 1)));
}
foreach my $way (@WAYS)
{
	my $got = value($node, "SELECT om.dump('$way->{name}')");
	my $wanted = wanted($way, @{ $final{ $way->{name} } });
	is($got, $wanted, "$way->{name}: whole runs in random order") or differences($got, $wanted);
}
is(value($node, "SELECT inserted, updated, deleted FROM etl_run(om.day(2), 'om')"), '0|0|0', 'a run again changes nothing');

# ------------------------------------------------------------------- runs that are killed

# Each day is run once more after it was stopped, with other rows than the stopped run saw;
# published as a whole, a stopped run has left nothing, task by task it may have left anything.
my $stop = 0;
foreach my $publish ('pipeline', 'per_task')
{
	run_sql($node, "SELECT etl.alter_pipeline('om', publish => '$publish', max_crashes => 100)");
	run_sql($node, join '', map { "SELECT om.clear('$_');\n" } map { tables($_) } @WAYS);
	%final = ();
	my $stopped = 0;
	foreach my $day ((sort { rand() <=> 0.5 } 0 .. $DAYS - 1), map { pick(0 .. $DAYS - 1) } 1 .. 4)
	{
		run_sql($node, join '', map { insert_day($_, $day, next_version($_, $final{ $_->{name} }[$day])) } @WAYS);
		$stopped++ unless stop_run($node, "SELECT state FROM etl_run(om.day($day), 'om')", $stop++, rand 0.5);
		foreach my $way (@WAYS)
		{
			$final{ $way->{name} }[$day] = next_version($way, $final{ $way->{name} }[$day]);
			run_sql($node, insert_day($way, $day, $final{ $way->{name} }[$day]));
		}
		my $result = run_sql($node, "SELECT state FROM etl_run(om.day($day), 'om')", may_fail => 1);
		is($result->{out}, 'success', "$publish: day $day after a run that was stopped") or diag($result->{err});
	}
	cmp_ok($stopped, '>', 0, "$publish: $stopped runs were stopped before their end");
	foreach my $way (@WAYS)
	{
		my $got = value($node, "SELECT om.dump('$way->{name}')");
		my $wanted = wanted($way, @{ $final{ $way->{name} } });
		is($got, $wanted, "$publish, $way->{name}: with runs that were stopped") or differences($got, $wanted);
	}
}

done_testing();
