# Template randomuser: each minute's users held against a schema before they are stored, what is
# not valid set aside, what looks like syntax kept as it is, an API that is away told from one
# that has nobody.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;
my $json = JSON::PP->new->canonical->ascii;
my $utf8 = JSON::PP->new->utf8;

# A user as the API has them; members are replaced, or left out when undef.
sub user
{
	my ($n, %change) = @_;
	my %user = (name => { title => 'Ms', first => "First$n", last => "Last$n" }, location => { country => 'Norway', postcode => 7 },
		login => { username => "user$n", password => "pass$n", salt => 'x' }, email => "user$n\@example.com", nat => 'NO', %change);

	return { map { $_ => $user{$_} } grep { defined $user{$_} } keys %user };
}

# What the API answers from now on, answer by answer, the last one for good.
sub answers { $api->control('PUT', 'routes', { path => '/api/', responses => [@_] }); return; }
sub users { my (@users) = @_; return { headers => { 'Content-Type' => 'application/json' }, body => $json->encode({ results => \@users, info => { results => scalar @users } }) }; }

# Runs a minute of 2026-11-10; fetched, loaded, quarantined and inserted, or the error.
sub run_minute
{
	my ($minute) = @_;
	my $result = run_sql($node, sprintf(q{CALL etl.run('randomuser', '2026-11-10 12:%02d+00', '2026-11-10 12:%02d+00')}, $minute, $minute + 1), may_fail => 1);

	return $result->{err} unless $result->{state} eq '00000';
	return value($node, "SELECT sum(fetched), sum(loaded), sum(quarantined), sum(inserted) FROM etl.task_runs WHERE run_id = (SELECT max(run_id) FROM etl.runs)");
}

my $COUNTS = 'SELECT (SELECT count(*) FROM raw.vr_randomuser), (SELECT count(*) FROM randomuser.users)';

# ------------------------------------------------------------------------- as installed

run_sql($node, "SELECT etl.install('randomuser', '{\"base_url\": \"$url\", \"results\": 3}')");
run_sql($node, "ALTER SERVER randomuser OPTIONS (ADD retry_delay '10 ms', ADD max_attempts '2')");
is(value($node, "SELECT schedule FROM etl.pipelines WHERE pipeline = 'randomuser'"), '* * * * *', 'every minute');
is(value($node, q{SELECT string_agg(column_name || ' ' || data_type || ' ' || is_nullable, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'randomuser' AND table_name = 'users' AND ordinal_position <= 6}),
	'firstname text NO, lastname text NO, country text NO, username text NO, password text NO, email text NO', 'the table of users');
is(run_minute(0), '3|3|0|3', 'a minute of the sample API');
is_deeply([ map { $_->{target} } $api->requests('/api/') ], ['/api/?results=3'], 'asked as many users as it shall');
is(value($node, q{SELECT count(*) FROM raw.vr_randomuser r JOIN randomuser.users u USING (load_id, slice, record_number)
	WHERE (firstname, lastname, country, username, password, email) IS NOT DISTINCT FROM (payload #>> '{name,first}', payload #>> '{name,last}', payload #>> '{location,country}',
		payload #>> '{login,username}', payload #>> '{login,password}', payload ->> 'email')}), '3', 'the users are those received');

# -------------------------------------------------------- what looks like syntax is data

my @odd = ([ q{O'Brien, "Bob"}, 'a,b;c|d' ], [ "two\nlines\r\n", "tab\tand \\N" ], [ q{'); DROP TABLE randomuser.users; --}, '{"a": "$1"}' ], [ '%s %1$L', "\x{1F600}\x{e4}" ], [ '', ' ' ]);
answers(users(map { user($_, name => { first => $odd[$_][0], last => $odd[$_][1] }) } 0 .. $#odd));
is(run_minute(1), '5|5|0|5', 'commas, quotes, line breaks, markers of NULL');
is_deeply($utf8->decode(value($node, q{SELECT jsonb_agg(jsonb_build_array(firstname, lastname) ORDER BY record_number) FROM randomuser.users WHERE username ~ '^user[0-4]$'})), \@odd, 'come through as they are');

# ------------------------------------------------------------------ users that are not valid

my %wrong = (
	'without an email' => user(1, email => undef), 'an email that is a number' => user(2, email => 7), 'a name that is text' => user(3, name => 'Ada Lovelace'),
	'without a country' => user(4, location => { postcode => 7 }), 'a password that is null' => user(5, login => { username => 'u', password => undef }),
	'no object' => 'Ada');
answers(users(user(9), (map { $wrong{$_} } sort keys %wrong), user(10)));
is(run_minute(2), '8|2|6|2', 'of eight users six are not valid: they are not stored');
is(value($node, q{SELECT string_agg(reason, '; ' ORDER BY record_number) FROM etl.quarantine}),
	'/name: "Ada Lovelace" is not of type object; /login/password: null is not of type string; /email: 7 is not of type string; the record: "Ada" is not of type object; /location: the property "country" is missing; the record: the property "email" is missing',
	'but in quarantine, each with its reason') or diag(value($node, q{SELECT string_agg(concat_ws(' ', record_number, reason), E'\n' ORDER BY record_number) FROM etl.quarantine}));
answers({ headers => { 'Content-Type' => 'application/json' }, body => '{"results": [' . $json->encode(user(11)) . ', ' . ($json->encode(user(12)) =~ s/First12/Fir\\u0000st/r) . ']}' });
is(run_minute(3), '2|1|1|1', 'nor is one with a NUL in its name, which PostgreSQL has no text for');

# --------------------------------------------------------------- nobody, and nobody there

my $before = value($node, $COUNTS);
answers(users());
is(run_minute(4), '0|0|0|0', 'no users are an empty success');
answers({ headers => { 'Content-Type' => 'application/json' }, body => '{"error": "Uh oh, something has gone wrong."}' });
run_sql($node, "SELECT etl.alter_pipeline('randomuser', retries => 0)");
like(run_minute(5), qr/randomuser.*failed in task raw\.randomuser/s, 'an answer without results is none');
answers({ status => 503, body => 'down' });
like(run_minute(5), qr{/api/\?results=3 failed with status 503 after 2 attempts}, 'an API that is away fails the run');
is(value($node, $COUNTS), $before, 'neither leaves anything behind');
answers({ status => 503, body => 'down' }, users(user(20)));
is(run_minute(5), '1|1|0|1', 'one that comes back is asked again');
answers(users(user(21)));
is(run_minute(5), '1|1|0|1', 'a minute run again');
is(value($node, q{SELECT string_agg(username, ',' ORDER BY username) FROM randomuser.users WHERE username IN ('user20', 'user21')}), 'user20,user21', 'adds to what it has');

# ------------------------------------------------------------------------- other options

run_sql($node, "SELECT etl.install('randomuser', '{\"base_url\": \"$url\", \"schedule\": \"\", \"schema\": \"people\"}', pipeline => 'people')");
is(value($node, "SELECT schedule IS NULL FROM etl.pipelines WHERE pipeline = 'people'"), 't', 'without a schedule');
answers(users(map { user($_) } 1 .. 4));
is(run_sql($node, "SELECT state, inserted FROM etl_run(date '2026-11-10', 'people')")->{out}, 'success|4', 'a day at once, into a schema of its own');

$node->stop;
done_testing();
