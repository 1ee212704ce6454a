# Credentials over the wire: every kind of auth reaches the source, new ones are taken when
# the source refuses the old, and none of them is to be found anywhere afterwards.
use strict;
use warnings;

use Digest::SHA 'sha256_hex';
use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = '2026-11-19';

# Every secret of this test contains one of these; searched for at the end.
my $SECRET = qr/s3cret|oauth-t0ken/;

$ENV{ETL_TEST_KEY} = 'environment-s3cret-1';
my $api = EtlTest::Api->start;
my $url = $api->url;
my $node = make_node('main', preload => 1, conf => <<CONF);
etl.worker_linger = '20s'
log_min_messages = debug1
log_min_error_statement = panic
CONF
my $secrets = $node->data_dir . '/etl_secrets';
mkdir $secrets, 0700;

# Everything anybody has been told.
my @told;

# Puts a secret into a file, in place of the one there.
sub write_secret
{
	my ($file, $secret) = @_;

	open(my $out, '>', "$secrets/$file") or die "$file: $!";
	print $out "$secret\n";
	close $out;
	return;
}

# Declares a pipeline of one task on a server of its own.  Options: mapping, server,
# query (a hash), headers, pagination, pages.
sub declare
{
	my ($name, %options) = @_;
	my $server = $options{server} // '';
	my $query = encode_json({ pages => $options{pages} // 4, per_page => 5, %{ $options{query} // {} } });
	my $pagination = encode_json($options{pagination} // { type => 'link_header' });
	my $headers = encode_json($options{headers} // {});

	run_sql($node, <<SQL);
CREATE SERVER $name FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '3', max_wait '20 s' $server);
CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS ($options{mapping});
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', 'raw.$name', server => '$name', path => '/pages/$name',
	query => '$query', headers => '$headers', records => '\$.data[*]', pagination => '$pagination');
SQL
	return;
}

# Runs a pipeline, asking the source from the first page.
sub extract
{
	my ($name, %options) = @_;

	run_sql($node, "UPDATE etl.load SET refetch = true WHERE pipeline = '$name' AND state IN ('loading', 'complete')") unless $options{resume};
	my $result = run_sql($node, "SELECT state, fetched FROM etl_run(date '$DAY', '$name')", may_fail => 1);
	push @told, $result->{err}, $result->{out};
	return $result;
}

# The requests for a pipeline's pages since the last reset, as page:status; a page that is
# held already and not modified is as good as one that comes.
sub pages_asked
{
	my ($name) = @_;

	return join ' ', map { ($_->{page} // 1) . ':' . (($_->{status} // '-') =~ s/304/200/r) } $api->requests("/pages/$name");
}

# Which credentials came with a pipeline's requests, as the API's log has them.
sub credentials_sent
{
	my ($name, $header) = @_;

	return map { $_->{headers}{ $header // 'authorization' } // 'none' } $api->requests("/pages/$name");
}

sub print_of { my ($secret) = @_; return 'sha256:' . substr(sha256_hex($secret), 0, 16); }

# Holds the answer to a page of a pipeline until something has been done.
sub during_page
{
	my ($name, $page, $do) = @_;

	$api->fault(match => "/pages/$name", page => $page, fault => 'delay', ms => 1200, times => 1);
	run_sql($node, "UPDATE etl.load SET refetch = true WHERE pipeline = '$name' AND state IN ('loading', 'complete')");
	my $caller = session($node);
	$caller->send("SELECT state, fetched FROM etl_run(date '$DAY', '$name')");
	wait_until("page $page is asked for", 20, sub { scalar grep { ($_->{page} // 1) == $page } $api->in_flight("/pages/$name") });
	$do->();
	my $result = $caller->wait(30) // BAIL_OUT("a run of $name hangs");
	push @told, $result->{err}, $result->{out};
	$caller->close;
	return $result;
}

# A test: the run has fetched four pages of five.
sub succeeds
{
	my ($result, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($result->{out}, 'success|20', $name) || diag($result->{err});
}

# ------------------------------------------------- a secret that is rotated in mid-run

write_secret('rotating', 'first-s3cret');
declare('rotating', mapping => "auth 'bearer', token_file 'rotating'");
$api->control('POST', 'auth', { token => 'first-s3cret' });
my $result = during_page('rotating', 2, sub {
	write_secret('rotating', 'second-s3cret');
	$api->control('POST', 'auth', { token => 'second-s3cret' });
});
succeeds($result, 'a file overwritten during a run: the run goes on with the new secret');
is(pages_asked('rotating'), '1:200 2:200 3:401 3:200 4:200', 'after one 401, at the same page');
is_deeply([ credentials_sent('rotating') ],
	[ map { 'Bearer ' . print_of($_) } ('first-s3cret') x 3, ('second-s3cret') x 2 ], 'the old secret up to the 401, the new one from then on');
is(value($node, "SELECT attempts FROM etl.slices WHERE pipeline = 'rotating' AND slice = 2 ORDER BY load_id DESC LIMIT 1"), 2, 'the slice counts both attempts');

$api->reset;
$api->control('POST', 'auth', { token => 'third-s3cret' });
$result = extract('rotating');
is_failure($result, '28000', 'a refused secret that has not changed');
like($result->{err}, qr/failed with status 401 after 1 attempt/, 'is sent once and not again');
is(pages_asked('rotating'), '1:401', 'as the source sees');

# The user mapping itself may be what changes.
$api->reset;
declare('mapped', mapping => "auth 'bearer', token 'one-s3cret'");
$api->control('POST', 'auth', { token => 'one-s3cret' });
$result = during_page('mapped', 3, sub {
	run_sql($node, "ALTER USER MAPPING FOR CURRENT_USER SERVER mapped OPTIONS (SET token 'two-s3cret')");
	$api->control('POST', 'auth', { token => 'two-s3cret' });
});
succeeds($result, 'a user mapping altered during a run is taken, too');
is(pages_asked('mapped'), '1:200 2:200 3:200 4:401 4:200', 'at the 401');

# The new secret is refused as well: no third attempt.
$api->reset;
$api->control('POST', 'auth', { token => 'two-s3cret' });
$result = during_page('mapped', 1, sub {
	run_sql($node, "ALTER USER MAPPING FOR CURRENT_USER SERVER mapped OPTIONS (SET token 'wrong-s3cret')");
	$api->control('POST', 'auth', { token => 'another-s3cret' });
});
is_failure($result, '28000', 'a new secret that is refused');
is(pages_asked('mapped'), '1:200 2:401 2:401', 'one attempt with each');

# A secret that goes away.
$api->reset;
$api->control('POST', 'auth', { token => 'first-s3cret' });
write_secret('rotating', 'first-s3cret');
$result = during_page('rotating', 1, sub {
	unlink "$secrets/rotating";
	$api->control('POST', 'auth', { token => 'another-s3cret' });
});
is_failure($result, '58P01', 'a file that is gone when it is read again');

# ---------------------------------------------------------------- the other kinds of auth

$api->reset;
declare('basic', mapping => "auth 'basic', username 'me', password 'basic-s3cret'");
succeeds(extract('basic'), 'basic');
my %scheme = map { (split / /)[0] => 1 } credentials_sent('basic');
is_deeply([ keys %scheme ], ['Basic'], 'basic: is sent');

declare('keyed', mapping => "auth 'api_key', api_key_env 'ETL_TEST_KEY', api_key_header 'X-Shop-Key'");
$api->control('POST', 'auth', { token => 'environment-s3cret-1', header => 'X-Shop-Key' });
succeeds(extract('keyed'), 'a key in a header');

# ------------------------------------------------------------ a key in the query of a URL

# "sesame" is no name that announces a secret, and the API repeats it in its links.
$api->reset;
my $KEY = 'query/s3cret+&=1';
write_secret('sesame', $KEY);
$api->control('POST', 'auth', { token => $KEY, query => 'sesame' });
declare('sesame', mapping => "auth 'api_key', api_key_file 'sesame', api_key_parameter 'sesame'");
succeeds(extract('sesame'), 'a key in a query parameter');
declare('sesame_next', mapping => "auth 'api_key', api_key_file 'sesame', api_key_parameter 'sesame'",
	pagination => { type => 'next_url', url => '$.next' });
succeeds(extract('sesame_next'), 'and with links in the body');
my ($answered) = grep { $_->{page} } $api->requests('/pages/sesame');
is(scalar(() = $answered->{target} =~ /sesame=/g), 1, 'what a link repeats of the key is replaced and not added to');
is(value($node, "SELECT count(*) FROM etl.slices WHERE pipeline LIKE 'sesame%' AND next_cursor IS NOT NULL"), 6, 'the links are kept');
is(value($node, "SELECT count(*) FROM etl.slices WHERE pipeline LIKE 'sesame%' AND (next_cursor::text LIKE '%sesame=%' OR request LIKE '%sesame=%')"), 0,
	'without the key and its parameter');

# It fails in the middle; meanwhile the key is rotated; the stored link goes on with the new one.
$api->fault(match => '/pages/sesame', page => 3, fault => 'status', code => 503,
	body => '{"url": "http://x/?sesame=query%2fs3cret%2B%26%3d1", "json": "query\\/s3cret\\u002B&=1", "html": "query&#x2F;s3cret+&amp;=1"}');
$result = extract('sesame');
is_failure($result, '08006', 'an API that repeats the key in an error, in three spellings');
like($result->{err}, qr/sesame=\*\*\*", "json": "\*\*\*", "html": "\*\*\*"/, 'all are hidden');
$api->heal;
write_secret('sesame', 'rotated-s3cret');
$api->reset;
$api->control('POST', 'auth', { token => 'rotated-s3cret', query => 'sesame' });
succeeds(extract('sesame', resume => 1), 'resumed with a rotated key');
is(pages_asked('sesame'), '3:200 4:200', 'at the page that failed');
$result = during_page('sesame', 2, sub {
	write_secret('sesame', 'rotated-s3cret-again');
	$api->control('POST', 'auth', { token => 'rotated-s3cret-again', query => 'sesame' });
});
succeeds($result, 'a key in a parameter is rotated in mid-run, too');

# --------------------------------------------------------------------------------- OAuth

sub oauth_of { return $api->control('GET', 'oauth'); }
sub tokens_asked { return scalar grep { $_->{status} } $api->requests('/oauth/token'); }

my $CLIENT_SECRET = 'cl!ent:s3cret/+%&';
my $token_options = "auth 'oauth2_client_credentials', token_url '$url/oauth/token'";
write_secret('client', $CLIENT_SECRET);
$api->reset;
$api->control('POST', 'oauth', { clients => { 'my client' => $CLIENT_SECRET }, client_auth => 'basic' });
declare('oauth', mapping => "$token_options, client_id 'my client', client_secret_file 'client', scope 'read all', audience 'https://shop'");
succeeds(extract('oauth'), 'an access token is fetched');
is_deeply(oauth_of()->{grants},
	[ { client_auth => 'basic', client_id => 'my client', grant_type => 'client_credentials', scope => 'read all', audience => 'https://shop',
		content_type => 'application/x-www-form-urlencoded' } ],
	'once, with what the user mapping says');
is(scalar(grep { $_ ne 'none' } credentials_sent('oauth')), 4, 'and sent with every page');
succeeds(extract('oauth'), 'the next run');
is(oauth_of()->{issued}, 1, 'uses the token that its worker still has');

$api->control('DELETE', 'oauth');
succeeds(extract('oauth'), 'a token revoked between runs is replaced');
is(oauth_of()->{issued}, 2, 'by one more');
$result = during_page('oauth', 2, sub { $api->control('DELETE', 'oauth') });
succeeds($result, 'a token revoked in mid-run is replaced');
is(oauth_of()->{issued}, 3, 'by one more');
is((pages_asked('oauth') =~ /(1:200 2:200 3:401 3:200 4:200)$/)[0], '1:200 2:200 3:401 3:200 4:200', 'after one 401');

# The secret is rotated and all tokens are revoked: what is read again is the secret.
$result = during_page('oauth', 2, sub {
	write_secret('client', 'rotated-cl!ent-s3cret');
	$api->control('POST', 'oauth', { clients => { 'my client' => 'rotated-cl!ent-s3cret' } });
});
succeeds($result, 'a client secret rotated in mid-run is read again');
is(join(' ', map { $_->{status} } ($api->requests('/oauth/token'))[-1]), 200, 'for the next token');

# Expiry: tokens live a second, a run longer, and the source never sees an old one.
$api->reset;
$api->control('POST', 'oauth', { clients => { 'my client' => 'rotated-cl!ent-s3cret' }, expires_in => 1 });
$api->latency(300);
declare('expiring', mapping => "$token_options, client_id 'my client', client_secret_file 'client'", pages => 6);
$result = extract('expiring');
is($result->{out}, 'success|30', 'a run that outlives its tokens') or diag($result->{err});
is(pages_asked('expiring'), '1:200 2:200 3:200 4:200 5:200 6:200', 'never sends one that has expired');
cmp_ok(oauth_of()->{issued}, '>=', 2, 'but fetches others in time');

# No expiry is said, or as text, or one that is not true: a 401 tells.
foreach my $said (undef, '3600', 3600)
{
	$api->reset;
	$api->control('POST', 'oauth', { clients => { 'my client' => 'rotated-cl!ent-s3cret' }, expires_in => $said, valid_seconds => 0.5 });
	$api->latency(200);
	$result = extract('expiring');
	my $text = defined $said ? "expires_in $said" : 'no expires_in';
	is($result->{out}, 'success|30', "$text, and tokens that live for half a second") or diag($result->{err});
	cmp_ok(oauth_of()->{issued}, '>=', 2, "$text: a 401 has them replaced");
	cmp_ok(oauth_of()->{issued}, '<=', 6, "$text: and only that");
}

# The client in the body.
$api->reset;
$api->control('POST', 'oauth', { clients => { me => $CLIENT_SECRET }, client_auth => 'body' });
declare('oauth_body', mapping => "$token_options, client_id 'me', client_secret '$CLIENT_SECRET', client_auth 'body'");
succeeds(extract('oauth_body'), 'client_auth body');
is(oauth_of()->{grants}[0]{client_auth}, 'body', 'it is in the body');

# What the token endpoint may do wrong.
$api->reset;
$api->control('POST', 'oauth', { clients => { me => $CLIENT_SECRET } });
$api->fault(match => '/oauth/token', fault => 'status_500', times => 2);
declare('oauth_fails', mapping => "$token_options, client_id 'me', client_secret '$CLIENT_SECRET'");
succeeds(extract('oauth_fails'), 'a token endpoint that fails twice is asked a third time');
is(tokens_asked(), 3, 'and no more');

sub fails_to_get_token
{
	my ($what, $states, $pattern) = @_;
	$api->control('DELETE', 'oauth');
	run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'");
	my $failed = extract('oauth_fails');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_failure($failed, $states, $what);
	like($failed->{err}, $pattern, "$what: says why") or diag($failed->{err});
	unlike($failed->{err}, $SECRET, "$what: without a secret");
	return;
}
$api->fault(match => '/oauth/token', fault => 'status_500');
fails_to_get_token('a token endpoint that is down', '08006', qr{POST http://127\.0\.0\.1:\d+/oauth/token failed with status 500 after 3 attempts});
$api->heal;
$api->fault(match => '/oauth/token', fault => 'status_404');
fails_to_get_token('a token endpoint that is not there', 'HV000', qr{could not get an access token: POST http://127\.0\.0\.1:\d+/oauth/token failed with status 404.*token_url}s);
$api->heal;
$api->fault(match => '/oauth/token', fault => 'redirect_other_host', status => 307);
my $arrived = () = $api->other_host;
fails_to_get_token('a token endpoint that redirects to another host', 'HV000', qr{redirect});
is(scalar(my @there = $api->other_host), $arrived, 'where nothing arrives');
$api->heal;
$api->control('POST', 'oauth', { clients => { me => 'other' } });
fails_to_get_token('a client that is refused', '28000', qr{status 401\n.*DETAIL:  The answer says: invalid_client: Client authentication failed for me with secret \*\*\*}s);
foreach my $case ([ { access_token => undef }, 'it has no access_token' ], [ { token_type => 'mac' }, 'its token_type is not Bearer' ],
	[ { access_token => "oauth-t0ken\r\nX: y" }, 'characters that a header cannot have' ])
{
	my ($answer, $why) = @$case;
	$api->control('POST', 'oauth', { clients => { me => $CLIENT_SECRET }, answer => $answer });
	fails_to_get_token("an answer to the token request: $why", 'HV000', qr/$why/);
}
$api->control('POST', 'oauth', { clients => { me => $CLIENT_SECRET } });
run_sql($node, "ALTER USER MAPPING FOR CURRENT_USER SERVER oauth_fails OPTIONS (SET token_url 'http://127.0.0.2:1/token')");
run_sql($node, "ALTER DATABASE postgres SET etl.allowed_hosts = '127.0.0.1'");
fails_to_get_token('a token endpoint on a host that is not allowed', 'HV000', qr{POST http://127\.0\.0\.2:1/token failed after 1 attempt: address});
run_sql($node, 'ALTER DATABASE postgres RESET etl.allowed_hosts');
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'");

# A new token that is refused as well: two attempts, not a loop.
$api->reset;
$api->control('POST', 'oauth', { clients => { me => $CLIENT_SECRET }, valid_seconds => 0 });
run_sql($node, "ALTER USER MAPPING FOR CURRENT_USER SERVER oauth_fails OPTIONS (SET token_url '$url/oauth/token')");
$result = extract('oauth_fails');
is_failure($result, '28000', 'access tokens that are all refused');
is(pages_asked('oauth_fails'), '1:401 1:401', 'two attempts');
is(oauth_of()->{issued}, 2, 'with a token each');

# -------------------------------------------------------------------- several tokens

my @TOKENS = map { "token-s3cret-$_" } 1 .. 3;
write_secret('tokens', join "\n", @TOKENS);
$api->reset;
$api->control('POST', 'auth', { token => \@TOKENS });
$api->control('POST', 'rate_limit', { per_token => 1, limit => 3 });
declare('pool', mapping => "auth 'bearer', tokens_file 'tokens'", pages => 9);
my $began = now;
$result = extract('pool');
is($result->{out}, 'success|45', 'nine pages with three tokens of three requests each') or diag($result->{err});
cmp_ok(now() - $began, '<', 8, 'without a wait');
is(join(' ', sort map { $_->{status} } $api->requests('/pages/pool')), join(' ', (200) x 9), 'no request is over a quota');
my %used;
$used{$_}++ foreach credentials_sent('pool');
is_deeply(\%used, { map { 'Bearer ' . print_of($_) => 3 } @TOKENS }, 'each token is used up');

# The tenth page would have to wait an hour.
$result = extract('pool');
is_failure($result, '53400', 'all tokens used up for longer than max_wait');
like($result->{err}, qr/is rate limited until 20\d\d-/, 'it says until when');
is(scalar(() = $api->requests('/pages/pool')), 9, 'and asks nothing: what the tokens have left is known');
is(value($node, "SELECT count(*), sum(remaining), min(not_before) > now() + interval '50 minutes' FROM etl.source_quotas WHERE server = 'pool'"), '3|0|t', 'to others, too');
my $kept = value($node, 'SELECT q::text FROM etl.source_quota q LIMIT 1');
unlike($kept, qr/s3cret/, 'without the tokens');

# One that has something left is used first by the next extraction, and by another worker.
is(value($node, "SELECT etl.forget_quotas('pool')"), 3, 'what is known can be forgotten');
$api->reset;
$api->control('POST', 'auth', { token => \@TOKENS });
$api->control('POST', 'rate_limit', { per_token => 1, limit => 6 });
is(extract('pool')->{out}, 'success|45', 'nine pages with three tokens of six requests');
$api->control('POST', 'rate_limit', { per_token => 1, limit => 30 });
run_sql($node, "UPDATE etl.source_quota SET remaining = 1 + row.n FROM (SELECT credential AS c, row_number() OVER (ORDER BY credential) * 10 AS n FROM etl.source_quota) row WHERE credential = row.c");
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'");
my $before_that = () = credentials_sent('pool');
is(extract('pool')->{out}, 'success|45', 'another worker');
my @sent_then = credentials_sent('pool');
my %sent_then = map { $_ => 1 } @sent_then[ $before_that .. $#sent_then ];
is(scalar keys %sent_then, 1, 'takes the token that has the most left');
run_sql($node, "SELECT etl.forget_quotas('pool')");

# Windows of a second or two: waits are few, and only when all are used up.
$api->reset;
$api->control('POST', 'auth', { token => \@TOKENS });
$api->control('POST', 'rate_limit', { per_token => 1, limit => 2, window_seconds => 1 });
my $caller = session($node);
$caller->send("SELECT state, fetched FROM etl_run(date '$DAY', 'pool')");
within(15, 'the wait for a token is seen by others', sub {
	value($node, "SELECT activity FROM etl.progress WHERE pipeline = 'pool' AND kind = 'extract'") =~ /waiting for rate limit until 20\d\d-/;
});
$result = $caller->wait(30) // BAIL_OUT('the run hangs');
$caller->close;
is($result->{out}, 'success|45', 'nine pages with six requests a window') or diag($result->{err});
is(scalar(grep { $_->{status} == 403 } $api->requests('/pages/pool')), 0, 'the source never has to refuse one');

# A source that does not tell what is left: a limit is met, another token goes on at once.
$api->reset;
$api->control('POST', 'auth', { token => \@TOKENS });
$api->fault(match => '/pages/pool', page => [ 2, 5 ], fault => 'status_429_retry_after', seconds => 30, times => 2);
$began = now;
$result = extract('pool');
is($result->{out}, 'success|45', 'two tokens that are limited for half a minute') or diag($result->{err});
cmp_ok(now() - $began, '<', 10, 'are not waited for');

# One token is revoked: the others do.
$api->reset;
run_sql($node, "SELECT etl.forget_quotas('pool')");
$api->control('POST', 'auth', { token => [ @TOKENS[ 0, 2 ] ] });
$result = extract('pool');
is($result->{out}, 'success|45', 'one token of three is refused') or diag($result->{err});
is(scalar(grep { $_->{status} == 401 } $api->requests('/pages/pool')), 1, 'and not used again');
like(slurp_file($node->logfile), qr/WARNING:  server "pool": one of 3 tokens is refused, the others are used on\n.*DETAIL:  It is number 2\./, 'of which the log tells');
$api->control('POST', 'auth', { token => ['none of them'] });
$result = extract('pool');
is_failure($result, '28000', 'all tokens refused');

# ------------------------------------------------------- many requests under way at once

# 24 items of a page each, eight at a time; what is done to the source is done to all eight.
run_sql($node, 'CREATE VIEW public.items AS SELECT n AS item FROM generate_series(1, 24) n');
sub declare_items
{
	my ($name, $mapping) = @_;

	run_sql($node, <<SQL);
CREATE SERVER $name FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '3', max_wait '20 s', concurrency '8');
CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS ($mapping);
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', 'raw.$name', server => '$name', path => '/pages/$name-{item}', query => '{"pages": 1, "per_page": 5}',
	records => '\$.data[*]', pagination => '{"type": "none"}', for_each => 'public.items');
SQL
	return;
}

# Does something while eight requests wait for their answers; returns the statuses they got.
sub while_eight_wait
{
	my ($name, $do) = @_;

	$api->latency(400);
	my $caller = session($node);
	$caller->send("SELECT state, fetched FROM etl_run(date '$DAY', '$name')");
	wait_until('eight requests are under way', 20, sub { scalar(my @in_flight = $api->in_flight("/pages/$name-*")) == 8 });
	$do->();
	$api->latency(0);
	my $ended = $caller->wait(30) // BAIL_OUT("a run of $name hangs");
	push @told, $ended->{err};
	$caller->close;
	is($ended->{out}, 'success|120', "$name: the run succeeds") or diag($ended->{err});
	my %statuses;
	$statuses{ $_->{status} }++ foreach $api->requests("/pages/$name-*");
	return \%statuses;
}

$api->reset;
write_secret('many', 'many-s3cret-1');
$api->control('POST', 'auth', { token => 'many-s3cret-1' });
declare_items('many_bearer', "auth 'bearer', token_file 'many'");
is_deeply(while_eight_wait('many_bearer', sub {
	write_secret('many', 'many-s3cret-2');
	$api->control('POST', 'auth', { token => 'many-s3cret-2' });
}), { 200 => 24, 401 => 8 }, 'a rotated secret: those under way are asked again, once');

$api->reset;
$api->control('POST', 'oauth', { clients => { many => $CLIENT_SECRET } });
declare_items('many_oauth', "$token_options, client_id 'many', client_secret '$CLIENT_SECRET'");
is_deeply(while_eight_wait('many_oauth', sub { $api->control('DELETE', 'oauth') }), { 200 => 24, 401 => 8 }, 'a revoked access token: the same');
is(oauth_of()->{issued}, 2, 'and one new token for all');

$api->reset;
$api->control('POST', 'auth', { token => \@TOKENS });
declare_items('many_tokens', "auth 'bearer', tokens_file 'tokens'");
my $statuses = while_eight_wait('many_tokens', sub { $api->control('POST', 'auth', { token => [ @TOKENS[ 0, 1 ] ] }) });
is($statuses->{200}, 24, 'a revoked token of three: the others take over');
cmp_ok($statuses->{401}, '<=', 4, 'what it was asked before it was known to be refused');
$api->control('POST', 'rate_limit', { per_token => 1, limit => 12 });
my $asked = () = $api->requests('/pages/many_tokens-*');
$result = extract('many_tokens');
is($result->{out}, 'success|120', 'a quota that is just enough') or diag($result->{err});
%used = ();
foreach my $request (($api->requests('/pages/many_tokens-*'))[ $asked .. $asked + 63 ])
{
	$used{ $request->{headers}{authorization} }++ if $request && $request->{status} =~ /200|304/;
}
is_deeply([ sort { $a <=> $b } values %used ], [ 12, 12 ], 'is shared evenly') or diag(explain(\%used));

# ------------------------------------------------------------- headers of the server

$api->reset;
declare('headed', mapping => "auth 'bearer', token 'headed-s3cret'", headers => { accept => 'application/vnd.shop+json' },
	server => q{, headers '{"Accept": "text/plain", "X-GitHub-Api-Version": "2022-11-28", "If-None-Match": 7}', user_agent 'shop/7'});
succeeds(extract('headed'), 'headers of the server');
my ($entry) = $api->requests('/pages/headed');
is_deeply({ map { $_ => $entry->{headers}{$_} } qw(accept x-github-api-version if-none-match user-agent) },
	{ accept => 'application/vnd.shop+json', 'x-github-api-version' => '2022-11-28', 'if-none-match' => '7', 'user-agent' => 'shop/7' },
	"are sent; a task's own take their place");

# ------------------------------------------------------------ links to other hosts

$api->reset;
my $other_port = $api->control('GET', 'info')->{other_port};
declare('linked', mapping => "auth 'api_key', api_key 'linked-s3cret', api_key_parameter 'sesame'");
$api->control('POST', 'auth', { token => 'linked-s3cret', query => 'sesame' });
$api->fault(match => '/pages/linked', page => 2, fault => 'link_other_host');
$result = extract('linked');
is_failure($result, 'HV000', 'a link to another host');
like($result->{err}, qr/DETAIL:  The link is .*HINT:  .*next_hosts/s, 'the hint names the option');
run_sql($node, "ALTER SERVER linked OPTIONS (ADD next_hosts 'files.example.com, 127.0.0.1:$other_port')");
$api->heal;
$api->fault(match => '/pages/linked', page => 2, fault => 'link_to', url => "http://127.0.0.1:$other_port/pages/linked?pages=4&per_page=5&page=3&sesame=linked-s3cret&x=linked-s3cret");
succeeds(extract('linked'), 'one that next_hosts lists is followed');
my @elsewhere = grep { $_->{target} =~ /page=[34]/ } $api->other_host;
is(scalar @elsewhere, 2, 'the rest of the pages is asked for there');
is(scalar(grep { $_->{target} =~ /sesame|x=/ || $_->{headers}{authorization} } @elsewhere), 0, 'without credentials, even those in the link');
declare('linked_bearer', mapping => "auth 'bearer', token 'linked-s3cret'", server => ", next_hosts '127.0.0.1:$other_port'");
$api->control('POST', 'auth', { token => 'linked-s3cret' });
$api->fault(match => '/pages/linked_bearer', page => 2, fault => 'link_to', url => "http://127.0.0.1:$other_port/pages/linked_bearer?pages=4&per_page=5&page=3");
succeeds(extract('linked_bearer'), 'the same with a bearer token');
is(scalar(grep { $_->{headers}{authorization} } $api->other_host), 0, 'which is not sent there');

# --------------------------------------------------------------- whose secrets they are

$api->reset;
write_secret('rotating', 'first-s3cret');
run_sql($node, <<SQL);
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN IN ROLE pg_read_server_files;
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO alice;
GRANT CREATE ON DATABASE postgres TO alice, bob;
SQL
run_sql($node, <<SQL, user => 'alice');
CREATE SERVER trap FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', max_attempts '1');
GRANT USAGE ON FOREIGN SERVER trap TO bob;
CREATE USER MAPPING FOR bob SERVER trap OPTIONS (auth 'bearer', token_file 'rotating');
CREATE USER MAPPING FOR alice SERVER trap OPTIONS (auth 'bearer', token 'alices-s3cret');
SQL
run_sql($node, <<SQL, user => 'bob');
CREATE SCHEMA bobs;
SELECT etl.create_pipeline('bobs');
SELECT etl.add_extract('bobs', 'bobs.items', server => 'trap', path => '/pages/bobs', records => '\$.data[*]');
SQL
sub bob_runs
{
	my $ran = run_sql($node, "SELECT state FROM etl_run(date '$DAY', 'bobs')", user => 'bob', may_fail => 1);
	push @told, $ran->{err};
	return $ran;
}
$result = bob_runs();
is_failure($result, '42501', "a file named for a server whose owner may not read files");
like($result->{err}, qr/Role "alice", which owns the foreign server/, 'the error says whose right is missing');
is(scalar(my @none = $api->requests('/pages/bobs')), 0, 'and nothing is sent');
run_sql($node, 'ALTER SERVER trap OWNER TO postgres');
is(bob_runs()->{out}, 'success', 'with an owner who may it works');
is(value($node, "SELECT count(*) FROM pg_user_mappings WHERE umoptions IS NOT NULL AND srvname <> 'trap'", user => 'bob'), 0,
	"others' user mappings are not shown");
is(run_sql($node, 'SELECT umoptions FROM pg_user_mapping', user => 'bob', may_fail => 1)->{state}, '42501', 'nor is the catalog');

# Turning verification off is not for everybody.
run_sql($node, 'ALTER SERVER trap OWNER TO alice');
foreach my $statement ("ALTER SERVER trap OPTIONS (ADD verify_tls 'off')",
	"CREATE SERVER unsafe FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'https://x.example.com', verify_tls 'false')")
{
	my $tried = run_sql($node, $statement, user => 'alice', may_fail => 1);
	is_failure($tried, '42501', "$statement by an ordinary role");
}
run_sql($node, "ALTER SERVER trap OPTIONS (ADD verify_tls 'off')");
is(run_sql($node, "ALTER SERVER trap OPTIONS (SET base_url 'https://y.example.com')", user => 'alice', may_fail => 1)->{state}, '42501',
	'nor may a server without it be led elsewhere');
is(run_sql($node, 'ALTER SERVER trap OPTIONS (DROP verify_tls)', user => 'alice', may_fail => 1)->{state}, '00000', 'everybody may turn it on');

# ------------------------------------------------------------------- where secrets are not

# The log first: what follows is logged as well.
my @lines = grep { $_ =~ $SECRET } split /\n/, slurp_file($node->logfile);
is(scalar @lines, 0, "none is in the server's log") or diag($lines[0]);
my $found = value($node, <<'SQL');
SET client_min_messages = notice;
CREATE TEMP TABLE found (relation text, what text);
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT c.oid::regclass AS relation FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			 WHERE n.nspname IN ('etl', 'raw', 'bobs') AND c.relkind IN ('r', 'p', 'v') LOOP
		EXECUTE format('INSERT INTO found SELECT %L, substring(x::text FROM ''.{0,40}(s3cret|oauth-t0ken)'') FROM %s x WHERE x::text ~ ''s3cret|oauth-t0ken''', r.relation, r.relation);
	END LOOP;
END
$$;
SELECT coalesce(string_agg(DISTINCT relation || ': ' || what, E'\n'), 'nowhere') FROM found;
SQL
is($found, 'nowhere', 'no secret is in any table or view of the extension, nor in raw');
is(scalar(grep { $_ =~ $SECRET } @told), 0, 'none is in what callers were told') or diag(join "\n", grep { $_ =~ $SECRET } @told);
my ($dump) = run_command([ 'pg_dump', '--data-only', '--extension=etl', '-h', $node->host, '-p', $node->port, 'postgres' ]);
like($dump, qr/COPY etl\./, 'a dump of what the extension keeps');
unlike($dump, $SECRET, 'has none');

# In the middle of it, with a key in the query and a token in a header.
$api->control('POST', 'auth', { token => undef });
foreach my $name ('sesame', 'oauth_body')
{
	my $activity;
	$api->control('POST', 'oauth', { clients => { me => $CLIENT_SECRET } }) if $name eq 'oauth_body';
	during_page($name, 2, sub { $activity = value($node, "SELECT string_agg(a::text, ' ') FROM pg_stat_activity a WHERE backend_type LIKE 'etl %'") });
	like($activity, qr/page 2/, "$name: activity is shown");
	unlike($activity, $SECRET, "$name: without a secret");
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
