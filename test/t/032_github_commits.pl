# Template github_commits: layers to the column, the three views right across month ends and
# with ties listed, and nobody who vanishes.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

sub install
{
	my ($options) = @_;
	run_sql($node, "SELECT etl.install('github_commits', '{\"repositories\": [\"apache/spark\", \"apache/airflow\"], \"base_url\": \"$url\"$options}')");
	return;
}
sub run_day { my ($day) = @_; return run_sql($node, "SELECT state, loaded = fetched AND fetched > 0, quarantined FROM etl_run(date '$day', 'github_commits')", may_fail => 1)->{out}; }

install(', "months": 240');
is(run_day('2026-11-19'), 'success|t|0', 'a run');
my ($raw, $spark) = split /\|/, value($node, q{SELECT count(DISTINCT payload ->> 'sha'), count(DISTINCT payload ->> 'sha') FILTER (WHERE item ->> 'repository' = 'apache/spark') FROM raw.vr_github_commits});
cmp_ok($spark, '>', 600, 'all pages');
is(value($node, 'SELECT (SELECT count(*) FROM stg.committer), (SELECT count(*) FROM sri.committer), (SELECT count(*) FROM t2.committer)'), "$raw|$raw|$raw", 'every commit is in each layer');
is(value($node, q{SELECT string_agg(table_schema || '.' || column_name || ' ' || data_type, ', ' ORDER BY table_schema, ordinal_position) FROM information_schema.columns WHERE table_name = 'committer'}),
	'sri.committer_name text, sri.commit_date timestamp without time zone, sri.commit_hash text, stg.committer_name text, stg.commit_date timestamp without time zone, stg.commit_hash text, '
	. 't2.committer_name text, t2.commit_date date, t2.day_of_week text, t2.time_block integer', 'the columns are as promised');
cmp_ok(value($node, q{SELECT count(*) FROM raw.vr_github_commits WHERE payload -> 'author' = 'null'}), '>', 0, 'some commits have no account');
is(value($node, q{SELECT count(*) FROM raw.vr_github_commits r WHERE payload -> 'author' = 'null'
	AND NOT EXISTS (SELECT FROM sri.committer c WHERE c.commit_hash = r.payload ->> 'sha' AND c.committer_name = r.payload #>> '{commit,author,name}')}), 0, 'they are their authors\' by name');
is(value($node, 'SELECT sum("00-03" + "03-06" + "06-09" + "09-12" + "12-15" + "15-18" + "18-21" + "21-00"), count(*), (array_agg(day_of_week))[1] FROM t3.heatmap'), "$raw|7|Monday", 'the heatmap has them all, Monday first');
is(value($node, q{SELECT count(*) FROM (SELECT * FROM t2.committer EXCEPT ALL SELECT committer_name, commit_date::date,
	(ARRAY['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[extract(isodow FROM commit_date)::integer], extract(hour FROM commit_date)::integer / 3 * 3 FROM sri.committer) d}), 0, 'in blocks of three hours');

like(run_sql($node, "SELECT etl.install('github_commits', '{\"repositories\": [\"a/b\"], \"schema\": \"t3_b\"}', pipeline => 'second')", may_fail => 1)->{err}, qr/installed already, as pipeline "github_commits"/, 'a second pipeline would fill the same tables');

# Once more: nothing changes; the interval before: neither.
my $state = 'SELECT md5(string_agg(s::text, \',\' ORDER BY commit_hash)) FROM sri.committer s';
my $before = value($node, $state);
is(run_day('2026-11-19'), 'success|t|0', 'the same run again');
is(run_day('2026-11-10'), 'success|t|0', 'an older one');
is(value($node, $state), $before, 'and the tables are as they were');

# The window moves: full forgets what is older than its months, and keeps it to that.
install(', "months": 1');
is(run_day('2026-11-20'), 'success|t|0', 'one month');
is(value($node, q{SELECT min(commit_date) >= timestamp '2026-10-21' AND max(commit_date) < timestamp '2026-11-21' FROM sri.committer}), 't', 'is one month of commits');
my $month = value($node, 'SELECT count(*) FROM sri.committer');
is(value($node, q{SELECT count(DISTINCT payload ->> 'sha') FROM raw.vr_github_commits WHERE (payload #>> '{commit,committer,date}')::timestamptz >= '2026-10-21T00:00:00Z'}), $month, 'all of them');
like(($api->requests('/repos/apache/spark/commits'))[-1]{target}, qr/since=2026-10-21T00(?::|%3A)00(?::|%3A)00Z.*until=2026-11-21T00|until=2026-11-21T00.*since=2026-10-21T00/, 'and no others are asked for');

# Streaks and ties, of commits of our own: over the end of February and of the year, several a day.
run_sql($node, <<'SQL');
BEGIN;
DELETE FROM t2.committer;
INSERT INTO t2.committer SELECT name, day, 'Monday', 0
FROM (VALUES ('ann', date '2024-02-27', 4), ('bob', '2023-12-30', 4), ('eve', '2024-01-01', 3), ('ann', '2024-03-10', 2)) s(name, start, days),
	LATERAL (SELECT start + d AS day FROM generate_series(0, days - 1) d) x, generate_series(1, 2) n;
INSERT INTO t2.committer SELECT 'p' || n, '2020-01-01', 'Monday', 0 FROM generate_series(1, 4) n, generate_series(1, 5) c;
COMMIT;
SQL
is(value($node, q{SELECT string_agg(concat_ws(' ', committer_name, days, first_day, last_day), ', ' ORDER BY committer_name) FROM t3.longest_streak}),
	'ann 4 2024-02-27 2024-03-01, bob 4 2023-12-30 2024-01-02', 'streaks go over month ends, and ties are listed');
is(value($node, q{SELECT string_agg(concat_ws(' ', rank, committer_name, commits), ', ' ORDER BY rank, committer_name) FROM t3.top_committers}),
	'1 ann 12, 2 bob 8, 3 eve 6, 4 p1 5, 4 p2 5, 4 p3 5, 4 p4 5', 'the top five, and who is level with the fifth');

# incremental keeps to what the source says: rows that are gone go, others are not touched.
install(', "months": 1, "load_mode": "incremental"');
is(run_day('2026-11-20'), 'success|t|0', 'incremental');
is(value($node, 'SELECT count(*) FROM ((TABLE sri.committer EXCEPT TABLE stg.committer) UNION ALL (TABLE stg.committer EXCEPT TABLE sri.committer)) d'), 0, 'is what the source says');
# delta adds what is new, and takes nothing away.
run_sql($node, q{DELETE FROM sri.committer WHERE commit_hash < '8'});
install(', "months": 1, "load_mode": "delta"');
run_sql($node, q{INSERT INTO sri.committer VALUES ('gone', '2020-01-01', 'gone')});
is(run_day('2026-11-20'), 'success|t|0', 'delta');
is(value($node, q{SELECT count(*), min(s.committer_name) FROM (TABLE sri.committer EXCEPT TABLE stg.committer) s}) . ' ' . value($node, 'SELECT count(*) FROM (TABLE stg.committer EXCEPT TABLE sri.committer) s'), '1|gone 0', 'has what staging has, and what it had');
is(value($node, q{SELECT count(*) FROM etl.check_results WHERE NOT passed}), 0, 'every check passed');
done_testing();
