# Template github_issues: the same tables whatever the order of the runs, and none of the
# traps of the script it replaces.
#
# What is comparable: the tables are a function of the raw rows of each interval, and those
# are what the API says when the interval is fetched.  So each date is always fetched at the
# same time of the API's clock, and then no order, and no repetition, may make a difference.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1, extension => 0);
my $url = $api->url;

# Everything but when a row was loaded.
my $TABLES = <<SQL;
SELECT (SELECT count(*) || ' ' || md5(string_agg(u::text, E'\\n' ORDER BY user_id)) FROM analytics.dim_users u),
	   (SELECT count(*) || ' ' || md5(string_agg((to_jsonb(f) - 'loaded_at')::text, E'\\n' ORDER BY issue_id)) FROM analytics.fact_issues f)
SQL

# What the tables should hold, from the raw rows and by other means: the state with the
# highest updated_at, and of equal ones the later interval's.
my $EXPECTED = <<SQL;
WITH issue AS (
	SELECT (payload ->> 'id')::bigint AS issue_id, (payload #>> '{user,id}')::bigint AS user_id, payload, item, data_interval_start,
		   (payload ->> 'updated_at')::timestamptz AS updated_at
	FROM raw.vr_github_issues),
latest AS (
	SELECT * FROM issue i WHERE NOT EXISTS (
		SELECT FROM issue o WHERE o.issue_id = i.issue_id AND (o.updated_at, o.data_interval_start) > (i.updated_at, i.data_interval_start))),
latest_of_user AS (
	SELECT * FROM issue i WHERE i.user_id IS NOT NULL AND NOT EXISTS (
		SELECT FROM issue o WHERE o.user_id = i.user_id
		  AND (o.updated_at, o.data_interval_start, o.issue_id) > (i.updated_at, i.data_interval_start, i.issue_id)))
SELECT (SELECT count(*) || ' ' || md5(string_agg(concat_ws('|', issue_id, user_id, payload ->> 'state', payload ->> 'title', payload ->> 'comments',
			item ->> 'repository', payload ? 'pull_request', updated_at, (payload ->> 'closed_at')::timestamptz, data_interval_start::date), E'\\n' ORDER BY issue_id)) FROM latest),
	   (SELECT count(*) || ' ' || md5(string_agg(concat_ws('|', user_id, payload #>> '{user,login}', payload #>> '{user,type}', payload #>> '{user,url}', updated_at), E'\\n' ORDER BY user_id)) FROM latest_of_user)
SQL
my $GOT = <<SQL;
SELECT (SELECT count(*) || ' ' || md5(string_agg(concat_ws('|', issue_id, user_id, state, title, comments_count, repository, is_pull_request, updated_at, closed_at, execution_date), E'\\n' ORDER BY issue_id)) FROM analytics.fact_issues),
	   (SELECT count(*) || ' ' || md5(string_agg(concat_ws('|', user_id, login, type, url, updated_at), E'\\n' ORDER BY user_id)) FROM analytics.dim_users)
SQL

sub install
{
	my ($database, @repositories) = @_;
	my $options = encode_json({ repositories => \@repositories, base_url => $url });

	run_sql($node, "CREATE DATABASE $database");
	run_sql($node, "CREATE EXTENSION etl; SELECT etl.install('github_issues', '$options')", db => $database);
	return;
}

# Runs a day of November 2026, at the time of the API's clock that belongs to it.
sub run_day
{
	my ($database, $day, $clock) = @_;

	$api->control('POST', 'clock', { now => $clock });
	my $result = run_sql($node, "SELECT state, fetched = loaded + quarantined, quarantined FROM etl_run(date '2026-11-$day')", db => $database, may_fail => 1);
	return $result->{out} eq 'success|t|0' ? () : ("$database, day $day: $result->{out}$result->{err}");
}

# ----------------------------------------------------------- any order, any repetition

# Day to clock.  Each day's fetch also sees the morning after, so that intervals overlap:
# the same state of an issue comes with two of them, under two logins of its author.
my %CLOCK = (17 => '2026-11-18T12:30:00Z', 18 => '2026-11-19T12:30:00Z', 19 => '2026-11-20T12:30:00Z');
my @REPOSITORIES = ('octocat/renames', 'octocat/empty', 'dbt-labs/dbt-core');

install('reference', @REPOSITORIES);
is_deeply([ map { run_day('reference', $_, $CLOCK{$_}) } 17, 18, 19 ], [], 'three dates in order, once each');
my $reference = value($node, $TABLES, db => 'reference');
note("tables: $reference");
is(value($node, $GOT, db => 'reference'), value($node, $EXPECTED, db => 'reference'), 'the tables hold the latest state of each issue and user');

foreach my $order ([ 17, 18, 19 ], [ 17, 19, 18 ], [ 18, 17, 19 ], [ 18, 19, 17 ], [ 19, 17, 18 ], [ 19, 18, 17 ])
{
	my $name = join '_', @$order;

	install("d$name", @REPOSITORIES);
	my @problems = map { run_day("d$name", $_, $CLOCK{$_}) } @$order, @$order;
	is_deeply(\@problems, [], "dates in the order @$order, each run twice");
	is(value($node, $TABLES, db => "d$name"), $reference, 'they give the same tables');
	my $again = run_sql($node, "SELECT inserted, updated, deleted FROM etl_run(date '2026-11-$order->[2]')", db => "d$name", may_fail => 1);
	is($again->{out}, '0|0|0', 'a run that finds nothing new changes nothing') or diag($again->{err});
}

# What it says, of the repository that is written by hand.
sub issue { my ($number, $columns, $database) = @_; return value($node, "SELECT $columns FROM analytics.fact_issues WHERE issue_id = 2000000000 + $number", db => $database // 'reference'); }

is(value($node, 'SELECT login FROM analytics.dim_users WHERE user_id = 9002', db => 'reference'), 'amazing-grace', 'a user who was renamed has the latest login');
is(issue(3, 'count(*), min(state), min(comments_count), min(updated_at)'), '1|closed|2|2026-11-19 15:00:00+00', 'an issue on three dates is there once, in its latest state');
is(issue(7, 'is_pull_request, user_id, state'), 't|9002|closed', 'a pull request is kept and flagged');
is(issue(3, 'is_pull_request'), 'f', 'an issue is not');
is(issue(8, 'repository, execution_date, closed_at IS NULL'), 'octocat/renames|2026-11-19|t', 'the other columns are filled');
is(value($node, "SELECT count(*) FROM etl.check_results WHERE NOT passed", db => 'reference'), 0, 'all checks passed');
cmp_ok(value($node, "SELECT count(*) FROM etl.check_results", db => 'reference'), '>=', 12, 'in each run');
cmp_ok(value($node, 'SELECT count(*) FROM analytics.fact_issues WHERE user_id IS NULL', db => 'reference'), '>', 0, 'issues without a user are facts');
is(value($node, 'SELECT count(*) FROM analytics.dim_users WHERE user_id IS NULL OR login IS NULL', db => 'reference'), 0, 'and no user');

# What was asked, as the API wants it.
my ($request) = grep { $_->{target} =~ /^\/repos\/dbt-labs/ } $api->requests;
my %query = map { split /=/, $_, 2 } split /&/, ($request->{target} =~ /\?(.*)/)[0];
$query{since} =~ s/%3A/:/gi;
is_deeply(\%query, { state => 'all', since => '2026-11-17T00:00:00Z', per_page => 100, sort => 'created', direction => 'asc' }, 'the query is as it should be');
is($request->{headers}{accept}, 'application/vnd.github+json', 'so is the Accept header');
cmp_ok(scalar(grep { $_->{target} =~ /^\/repositories\/53134012\/issues\?/ } $api->requests), '>', 0, 'next links to another path are followed');

# ------------------------------------------------------ an issue or user over several dates

install('story', 'octocat/renames');
my %night = map { $_ => sprintf('2026-11-%02dT00:00:00Z', $_ + 1) } 1 .. 20;
is_deeply([ map { run_day('story', sprintf('%02d', $_), $night{$_}) } 1, 2 ], [], 'two days');
is(value($node, 'SELECT login FROM analytics.dim_users WHERE user_id = 9001', db => 'story'), 'ada-lovelace', 'a user renamed on the second day has the new login');
is(issue(1, 'state, execution_date', 'story'), 'closed|2026-11-02', 'an issue on both has the later state');
is_deeply([ run_day('story', '01', $night{1}) ], [], 'the first day again');
is(value($node, 'SELECT login FROM analytics.dim_users WHERE user_id = 9001', db => 'story'), 'ada-lovelace', 'the new login stays');
is(issue(1, 'state, execution_date', 'story'), 'closed|2026-11-02', 'so does the later state');
is(issue(2, 'state, execution_date, user_id', 'story'), 'open|2026-11-01|9001', 'what nobody touched stays');
is_deeply([ map { run_day('story', sprintf('%02d', $_), $night{$_}) } 3, 5, 6, 7, 5 ], [], 'more days');
is(issue(5, "count(*), min(state), bool_and(user_id IS NULL), min(comments_count)", 'story'), '1|open|t|1', 'an issue without a user takes part');
is(value($node, 'SELECT user_id, login FROM analytics.dim_users ORDER BY user_id', db => 'story'), "9001|ada-lovelace\n9003|linus\n9004|ada-l", 'a login that another person took up is two users');

# When the source takes something back, a re-run of its date does as well.
$api->control('PUT', 'routes', { path => '/repos/octocat/renames/issues', responses => [ { body => '[]' } ] });
is_deeply([ run_day('story', '03', $night{3}) ], [], 'the third day again, now without its issue');
is(issue(6, 'count(*)', 'story'), 0, 'what only that date had is gone');
is(issue(1, 'count(*)', 'story'), 1, 'what other dates have is not');
$api->control('DELETE', 'routes');

# ------------------------------------------------------------------------- scripted traps

sub script
{
	my (@issues) = @_;

	$api->control('DELETE', 'routes');
	$api->control('PUT', 'routes', { path => '/repos/octo/traps/issues', responses => [ { body => encode_json(\@issues) } ] });
	return;
}

sub made_issue
{
	my ($id, $updated, $user, %more) = @_;
	return { id => $id, number => $id, state => 'open', title => "Issue $id", comments => 0, created_at => '2026-11-01T00:00:00Z',
		updated_at => "2026-11-$updated:00Z", closed_at => undef, user => $user, %more };
}

sub user { my ($id, $login, $type) = @_; return { id => $id, login => $login, type => $type // 'User', url => "https://api.example.com/users/$login" }; }

install('traps', 'octo/traps');
# two variants of one user, in either order, a duplicate of an issue, users that are none
script(made_issue(1, '10T10:00', user(1, 'new', 'Organization')), made_issue(2, '10T09:00', user(1, 'old')),
	made_issue(3, '10T09:00', user(2, 'before')), made_issue(4, '10T11:00', user(2, 'after')),
	made_issue(5, '10T08:00', user(3, 'three')), made_issue(5, '10T12:00', user(3, 'three'), state => 'closed', closed_at => '2026-11-10T12:00:00Z'),
	made_issue(6, '10T08:00', undef), made_issue(7, '10T08:00', { id => 4, login => undef }),
	made_issue(8, '10T08:00', user(5, q{Robert'); --}), pull_request => { url => 'https://api.example.com/pulls/8' }), made_issue(9, '10T08:00', user(5, q{Robert'); --}), pull_request => undef));
is_deeply([ run_day('traps', '10', undef) ], [], 'a day of odd issues');
is(value($node, 'SELECT user_id, login, type FROM analytics.dim_users ORDER BY user_id', db => 'traps'),
	qq{1|new|Organization\n2|after|User\n3|three|User\n5|Robert'); --|User}, 'of two variants of a user the later one counts');
is(value($node, 'SELECT issue_id, user_id, state, is_pull_request FROM analytics.fact_issues ORDER BY issue_id', db => 'traps'),
	"1|1|open|f\n2|1|open|f\n3|2|open|f\n4|2|open|f\n5|3|closed|f\n6||open|f\n7||open|f\n8|5|open|t\n9|5|open|f", 'every issue is there once, with its user, if it has one');

# type and url follow
script(made_issue(1, '11T10:00', { %{ user(1, 'newer', 'Bot') }, url => 'https://api.example.com/elsewhere' }));
is_deeply([ run_day('traps', '11', undef) ], [], 'the next day');
is(value($node, 'SELECT login, type, url FROM analytics.dim_users WHERE user_id = 1', db => 'traps'), 'newer|Bot|https://api.example.com/elsewhere', "a user's login, type and url are updated");

# A record without an id is kept aside, one that is no issue does not break the others.
script(made_issue(10, '12T10:00', user(1, 'newer')), { message => 'no issue' });
my $result = run_sql($node, "SELECT state, fetched, loaded, quarantined FROM etl_run(date '2026-11-12')", db => 'traps', may_fail => 1);
is($result->{out}, 'success|2|1|1', 'a record without an id is quarantined') or diag($result->{err});

# An issue that breaks the promise is not published, and the last good data stay.
script(made_issue(11, '13T10:00', user(1, 'newest'), title => undef));
$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-13')", db => 'traps', may_fail => 1);
is_failure($result, '23514', 'an issue without a title');
is(value($node, 'SELECT count(*) FROM analytics.fact_issues WHERE issue_id = 11', db => 'traps'), 0, 'it is not published');
is(value($node, 'SELECT login FROM analytics.dim_users WHERE user_id = 1', db => 'traps'), 'newer', 'nor is its user');

# A limit that is longer than anybody waits does not loop.
$api->control('DELETE', 'routes');
$api->fault(match => '/repos/octo/traps/issues', fault => 'status_403_rate_limited', seconds => 90000);
my $began = now;
my $caller = session($node, db => 'traps');
$caller->send("SELECT state FROM etl_run(date '2026-11-14')");
$result = $caller->wait(10);
is_failure($result, '53400', 'a rate limit of a day');
like($result ? $result->{err} : '', qr/rate limited until 20\d\d-/, 'it says until when');
cmp_ok(now() - $began, '<', 5, 'at once');
$caller->kill_client;
$api->heal;

# Several repositories, one of which does not answer: nothing is half published.
install('several', 'octocat/renames', 'octocat/missing');
$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-18')", db => 'several', may_fail => 1);
is($result->{state} ne '00000', 1, 'a repository that does not exist fails the run');
like($result->{err}, qr{GET http://\S+/repos/octocat/missing/issues\S* failed with status 404}, 'its request is named');
is(value($node, 'SELECT count(*) FROM analytics.fact_issues', db => 'several'), 0, 'and the others are not published without it');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
