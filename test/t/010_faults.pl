# Every fault of the scripted API, driven through a run: it ends in success with the data
# complete, or in a failed run whose error names the request, the status, the attempts and
# what to do; and when the source is well again, the same interval goes on where it stopped.
#
# A case is a pipeline over the same three pages of ten records, of which the second (or
# the one that "page" names) is broken.  All pipelines run in one call, so that faults that
# cost time cost it together.
use strict;
use warnings;

use EtlTest;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = "date '2026-11-19'";
my $TOKEN = 'tok-7d1f0c9be24a-never-shown';
my $QUERY_SECRET = 'qs-90aa41-never-shown';

# How often a request is made at most, by the servers' max_attempts.
my $ATTEMPTS = 3;

# ------------------------------------------------------------------------- the table
#
# fault, parameters, what happens, and what more is to be seen:
#   recovers   twice broken: success after three attempts; always broken: a failed run
#              whose error matches; that is, two cases
#   fails      a failed run at once, whose error matches
#   accepts    a successful run; rows: how many if not 30, same: 0 when content differs
#   rejects    one record in quarantine, whose bytes match, the others load
# Options: server (default api), page, path, records, max_pages, requests (at most, if
# more than three), well (0: there is no mending it).
my @TABLE = (
	[ 'status', { code => 500 }, recovers => qr/failed with status 500 after 3 attempts/ ],
	[ 'status', { code => 418, body => qq({"message":"bad token $TOKEN"}) }, fails => qr/failed with status 418 after 1 attempt\b.*bad token \*\*\*/s ],
	[ 'status_500', {}, recovers => qr/failed with status 500 after 3 attempts/ ],
	[ 'status_502_html', {}, recovers => qr/failed with status 502 after 3 attempts/ ],
	[ 'status_503_retry_after', {}, recovers => qr/failed with status 503 after 3 attempts/ ],
	[ 'status_503_retry_after', { form => 'date' }, recovers => qr/failed with status 503 after 3 attempts/ ],
	[ 'status_503_retry_after', { value => 'soon' }, recovers => qr/failed with status 503 after 3 attempts/ ],
	[ 'status_503_retry_after', { seconds => 3600 }, fails => qr/is rate limited until 20\d\d-.*Status 503 after 1 attempt\b.*max_wait/s ],
	[ 'status_408', {}, recovers => qr/failed with status 408 after 3 attempts/ ],
	[ 'status_429', {}, recovers => qr/failed with status 429 after 3 attempts/ ],
	[ 'status_429_retry_after', {}, recovers => qr/is rate limited until 20\d\d-.*Status 429 after \d+ attempts?\b.*max_wait/s ],
	[ 'status_429_retry_after', { seconds => 86400 * 400 }, fails => qr/is rate limited until 202[78]-.*Status 429 after 1 attempt\b/s ],
	[ 'status_403_rate_limited', {}, recovers => qr/is rate limited until 20\d\d-.*Status 403 after \d+ attempts?\b.*max_wait/s ],
	[ 'status_403_rate_limited', { seconds => 3000 }, fails => qr/is rate limited until 20\d\d-.*Status 403 after 1 attempt\b.*max_wait/s ],
	# the end of which nobody knows: a minute is the least
	[ 'status_403_secondary', {}, fails => qr/is rate limited until 20\d\d-.*Status 403 after 1 attempt\b.*max_wait/s ],
	[ 'status_403_secondary', { retry_after => 1 }, recovers => qr/is rate limited until 20\d\d-.*Status 403 after \d+ attempts?\b/s ],
	[ 'quota', { seconds => 1 }, accepts => undef ],
	[ 'quota', { form => 'structured', status => 429, seconds => 1 }, recovers => qr/is rate limited until 20\d\d-.*Status 429 after \d+ attempts?\b.*max_wait/s ],
	[ 'quota', { seconds => 3000 }, fails => qr/is rate limited until 20\d\d-.*The source's quota is used up; .*max_wait/s ],
	[ 'status_403_forbidden', {}, fails => qr/failed with status 403 after 1 attempt\b.*not accessible.*what the credentials/s ],
	[ 'status_401', {}, fails => qr/failed with status 401 after 1 attempt\b.*Bad credentials.*user mapping/s ],
	[ 'status_404', {}, fails => qr/failed with status 404 after 1 attempt\b.*base_url/s ],
	[ 'status_410', {}, fails => qr/failed with status 410 after 1 attempt\b.*Issues are disabled/s ],
	[ 'status_422', {}, fails => qr/failed with status 422 after 1 attempt\b.*Validation Failed/s ],
	[ 'status_304_unasked', {}, fails => qr/status 304 after 1 attempt\b/ ],
	# no content is what it says, and a next page is not named
	[ 'status_204', {}, accepts => undef, rows => 10 ],

	[ 'invalid_json_record', {}, rejects => qr/^\{"id" 16,/ ],
	[ 'invalid_json_record', { style => 'bare_word' }, rejects => qr/undefined/ ],
	[ 'invalid_json_record', { style => 'trailing_comma' }, rejects => qr/,\}$/ ],
	[ 'invalid_json_record', { style => 'unbalanced' }, recovers => qr/is not whole JSON.*status 200, after 3 attempts/s ],
	[ 'record_not_object', {}, rejects => qr/^"no object"$/ ],
	[ 'missing_field', {}, rejects => qr/^\{"value"/ ],
	[ 'set_field', {}, rejects => qr/"id":null/ ],
	[ 'duplicate_record', {}, accepts => undef, rows => 31 ],
	[ 'duplicate_key', {}, accepts => undef, same => 0 ],
	[ 'nul_escape', {}, rejects => qr/\\u0000/ ],
	[ 'lone_surrogate', {}, rejects => qr/\\ud800/ ],
	[ 'lone_surrogate', { escape => 'dc00' }, rejects => qr/\\udc00/ ],
	[ 'invalid_utf8', {}, rejects => qr/\xc3\x28\xff\xed\xa0\x80/ ],
	[ 'raw_nul', {}, rejects => qr/\x00/ ],
	[ 'raw_control', {}, rejects => qr/\n\t/ ],
	[ 'big_integer', {}, accepts => undef, same => 0 ],
	[ 'huge_number', {}, rejects => qr/1e400000/ ],
	[ 'not_a_number', {}, rejects => qr/:NaN/ ],
	[ 'deep_nesting', { depth => 1000 }, accepts => undef, same => 0 ],
	[ 'deep_nesting', { depth => 200_000 }, rejects => qr/\[{30000}/ ],
	[ 'long_string', { megabytes => 3 }, accepts => undef, same => 0, server => 'roomy' ],
	[ 'many_fields', {}, accepts => undef, same => 0 ],
	[ 'hostile_names', {}, accepts => undef, same => 0 ],

	[ 'invalid_json_page', {}, recovers => qr/is not whole JSON.*status 200, after 3 attempts/s ],
	[ 'truncated_json', {}, recovers => qr/is not whole JSON.*status 200, after 3 attempts/s ],
	[ 'empty_body', {}, recovers => qr/is not whole JSON.*status 200, after 3 attempts/s ],
	[ 'white_space_body', {}, recovers => qr/is not whole JSON.*status 200, after 3 attempts/s ],
	# as many APIs write an empty list; the Link header goes on
	[ 'null_body', {}, accepts => undef, rows => 20 ],
	[ 'null_body', {}, fails => qr/has no member "data".*Status 200 after 1 attempt\b/s, records => '$.data[*]' ],
	[ 'empty_page', {}, accepts => undef, rows => 20 ],
	[ 'empty_page', {}, fails => qr/has no member "data".*Status 200 after 1 attempt\b/s, records => '$.data[*]' ],
	# where an array should be, an object is no record and no end of the pages
	[ 'error_object_200', {}, fails => qr/\bStatus 200 after \d+ attempts?\b.*"message":"error"/si ],
	[ 'error_object_200', {}, fails => qr/has no member "data".*Status 200 after 1 attempt\b.*"message":"error"/s, records => '$.data[*]' ],
	[ 'html_instead_of_json', {}, recovers => qr/is not whole JSON.*status 200, after 3 attempts.*DOCTYPE/s ],
	[ 'html_instead_of_json', { content_type => 'application/json' }, recovers => qr/is not whole JSON.*status 200, after 3 attempts/s, records => '$.data[*]' ],
	[ 'utf16', {}, accepts => undef ],
	# the server could not write all characters in it and sent question marks: no fault of ours
	[ 'latin1', {}, accepts => undef, same => 0 ],
	[ 'bom', {}, accepts => undef ],
	[ 'truncated_gzip', {}, recovers => qr/failed after 3 attempts: decode.*status 200/s ],
	[ 'truncated_gzip', { after_bytes => 0 }, recovers => qr/after 3 attempts\b/s ],
	[ 'corrupt_gzip', {}, recovers => qr/failed after 3 attempts: decode.*status 200/s ],
	[ 'fake_gzip', {}, recovers => qr/failed after 3 attempts: decode.*status 200/s ],
	[ 'unknown_encoding', {}, recovers => qr/failed after 3 attempts: decode.*not supported.*status 200/s ],

	[ 'delay', { ms => 100 }, accepts => undef ],
	[ 'delay', { ms => 4000 }, recovers => qr/failed after 3 attempts: timeout/, server => 'quick' ],
	[ 'reset', {}, recovers => qr/failed after 3 attempts: reset.*status 200/s ],
	[ 'reset', { after_bytes => 0 }, recovers => qr/failed after 3 attempts: reset.*status 200/s ],
	# libcurl itself asks once more when a connection it kept turns out to be closed
	[ 'reset_before_answer', {}, recovers => qr/failed after 3 attempts: reset/, requests => 4 ],
	[ 'close_before_answer', {}, recovers => qr/failed after 3 attempts: reset/, requests => 4 ],
	[ 'close_mid_head', {}, recovers => qr/after 3 attempts\b/ ],
	[ 'close_mid_body', {}, recovers => qr/failed after 3 attempts: reset.*status 200/s ],
	[ 'close_mid_body', { chunked => 1 }, recovers => qr/failed after 3 attempts: reset.*status 200/s ],
	[ 'slow_bytes', {}, recovers => qr/failed after 3 attempts: timeout.*status 200/s, server => 'quick' ],
	[ 'slow_bytes', { head => 1 }, recovers => qr/failed after 3 attempts: timeout/, server => 'quick' ],
	[ 'wrong_content_length', {}, recovers => qr/failed after 3 attempts: reset.*status 200/s ],
	[ 'wrong_content_length', { mode => 'short' }, recovers => qr/is not whole JSON.*status 200, after [345] attempts/s, requests => 4 ],
	[ 'no_content_length', {}, accepts => undef ],
	[ 'chunked', { size => 7 }, accepts => undef ],
	[ 'bad_chunk', {}, recovers => qr/failed after 3 attempts: reset.*status 200/s ],
	[ 'garbage', {}, recovers => qr/failed after 3 attempts: reset/ ],
	[ 'huge_header', {}, fails => qr/failed after 1 attempt: too_large.*header.*max_body_size/s ],
	[ 'hang', {}, recovers => qr/failed after 3 attempts: timeout/, server => 'quick' ],
	[ 'hang_mid_body', {}, recovers => qr/failed after 3 attempts: timeout.*status 200/s, server => 'quick' ],
	[ 'huge_body', {}, fails => qr/failed after 1 attempt: too_large.*status 200.*max_body_size/s ],
	[ 'huge_body', { content_length => 1 }, fails => qr/failed after 1 attempt: too_large.*max_body_size/s ],
	[ 'gzip_bomb', {}, fails => qr/failed after 1 attempt: too_large.*status 200.*max_body_size/s ],

	[ 'endless_pagination', {}, fails => qr/goes in a circle.*same page/s, page => undef ],
	[ 'endless_pagination', {}, fails => qr/more than 12 pages.*max_pages/s, path => '/fault/endless_pagination', max_pages => 12, well => 0 ],
	[ 'loop_pagination', {}, fails => qr/goes in a circle/ ],
	[ 'loop_pagination', { length => 3 }, fails => qr/goes in a circle/, page => undef ],
	[ 'link_to', {}, fails => qr/is on another host.*base_url/s ],
	[ 'link_other_host', {}, fails => qr/is on another host.*base_url/s ],
	[ 'link_to_file', {}, fails => qr/is on another host.*base_url/s ],
	[ 'link_relative', {}, accepts => undef ],
	# a Link header that cannot be read must not be taken for the last page's
	[ 'link_malformed', {}, fails => qr/[Ll]ink/ ],
	# nothing tells this from the last page
	[ 'link_missing', {}, accepts => undef, rows => 20 ],
	[ 'redirect', {}, accepts => undef ],
	[ 'redirect', { relative => 1, status => 307 }, accepts => undef ],
	[ 'redirect', { hops => 6 }, fails => qr/failed after 1 attempt: redirect.*too many redirects/s ],
	[ 'redirect_loop', {}, fails => qr/failed after 1 attempt: redirect.*too many redirects/s ],
	[ 'redirect_without_location', {}, fails => qr/failed with status 302 after 1 attempt\b/ ],
	[ 'redirect_other_host', {}, accepts => undef, page => 3 ],
	[ 'redirect_to_file', {}, fails => qr/failed after 1 attempt: redirect.*scheme/s ],
);

# ------------------------------------------------------------------------ the cases

# One case of the table, with a name of its own; the numbers tell them apart.
sub make_case
{
	my ($line, $number, $kind) = @_;
	my ($fault, $params, $what, $pattern, %more) = @$line;
	my %params = %$params;

	$params{times} = $ATTEMPTS - 1 if $kind eq 'twice';
	$more{requests} //= $ATTEMPTS;
	my $text = join ' ', $fault, map { "$_=" . substr($params{$_}, 0, 20) } sort keys %params;
	return {
		name => sprintf('c%03d_%s', $number, substr($fault, 0, 30)),
		text => $text . ($more{records} ? ", $more{records}" : ''),
		fault => $fault,
		params => \%params,
		what => $kind eq 'twice' ? 'recovers' : $kind eq 'always' ? 'fails' : $what,
		pattern => $pattern,
		page => 2,
		server => 'api',
		records => '$[*]',
		rows => 30,
		same => 1,
		well => 1,
		%more,
	};
}

# a quota is the source's: of one that is used up the others would know
my @QUOTA_FAULTS = qw(quota status_403_rate_limited);
my @cases = ({ name => 'baseline', text => 'no fault', what => 'accepts', server => 'api', records => '$[*]', rows => 30, same => 1, well => 1 });
foreach my $line (@TABLE)
{
	push @cases, make_case($line, scalar @cases, $_) foreach $line->[2] eq 'recovers' ? ('twice', 'always') : ('once');
}
foreach my $case (@cases)
{
	$case->{server} = "server_$case->{name}" if grep { $_ eq ($case->{fault} // '') } @QUOTA_FAULTS;
}
# while working on a test: the cases whose text matches only
@cases = grep { $_->{name} eq 'baseline' || $_->{text} =~ /$ENV{ETL_CASES}/ } @cases if $ENV{ETL_CASES};

sub declaration
{
	my ($case) = @_;
	my $path = $case->{path} // '/pages/same';
	my $style = $case->{records} eq '$[*]' ? 'array' : 'object';
	my %pagination = (type => 'link_header');

	$pagination{max_pages} = $case->{max_pages} if $case->{max_pages};
	my $pagination = encode_json(\%pagination);
	return <<SQL;
SELECT etl.create_pipeline('$case->{name}');
SELECT etl.add_extract('$case->{name}', 'raw.$case->{name}', server => '$case->{server}', path => '$path',
	query => '{"pages": 3, "per_page": 10, "style": "$style", "case": "$case->{name}", "access_token": "$QUERY_SECRET"}',
	records => '$case->{records}', pagination => '$pagination', key => '{\$.id}');
SQL
}

sub rule
{
	my ($case) = @_;
	my %rule = (match => "/pages/same?case=$case->{name}", fault => $case->{fault}, %{ $case->{params} });

	$rule{page} = $case->{page} if defined $case->{page};
	return \%rule;
}

# The requests so far: case to page to number.
sub pages_requested
{
	my ($api) = @_;
	my %pages;

	foreach my $request ($api->requests('/pages/same'))
	{
		next if $request->{listener} ne 'main' || $request->{target} !~ /case=(\w+)/;
		$pages{$1}{ $request->{page} // 1 }++;
	}
	return \%pages;
}

# ---------------------------------------------------------------------- the first run

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1, conf => "etl.secret_directory = 'secrets'");
my $url = $api->url;

mkdir $node->data_dir . '/secrets', 0700;
PostgreSQL::Test::Utils::append_to_file($node->data_dir . '/secrets/api', "$TOKEN\n");
$api->control('POST', 'auth', { token => $TOKEN });

my $common = "base_url '$url', max_attempts '$ATTEMPTS', retry_delay '10 ms', max_wait '6 s'";
run_sql($node, <<SQL);
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS ($common, timeout '20 s', max_body_size '1MB');
CREATE SERVER quick FOREIGN DATA WRAPPER etl_http OPTIONS ($common, timeout '1 s', max_body_size '1MB');
CREATE SERVER roomy FOREIGN DATA WRAPPER etl_http OPTIONS ($common, timeout '20 s', max_body_size '32MB');
CREATE USER MAPPING FOR CURRENT_USER SERVER api OPTIONS (auth 'bearer', token_file 'api');
CREATE USER MAPPING FOR CURRENT_USER SERVER quick OPTIONS (auth 'bearer', token '$TOKEN');
CREATE USER MAPPING FOR CURRENT_USER SERVER roomy OPTIONS (auth 'bearer', token '$TOKEN');
SQL
foreach my $server (grep { /^server_/ } map { $_->{server} } @cases)
{
	run_sql($node, <<SQL);
CREATE SERVER $server FOREIGN DATA WRAPPER etl_http OPTIONS ($common);
CREATE USER MAPPING FOR CURRENT_USER SERVER $server OPTIONS (auth 'bearer', token '$TOKEN');
SQL
}
run_sql($node, join '', 'SET client_min_messages = error;', map { declaration($_) } @cases);

my %known = map { (ref $_ ? $_->{name} : $_) => 1 } do {
	my $faults = $api->control('GET', 'info')->{faults};
	ref $faults eq 'HASH' ? keys %$faults : @$faults;
};
my %tested = map { $_->[0] => 1 } @TABLE;
is_deeply([ sort keys %tested ], [ sort keys %known ], 'the table has every fault the server knows, and no other');

my @rules = map { rule($_) } grep { $_->{fault} && !$_->{path} } @cases;
$api->control('POST', 'faults', \@rules) if @rules;

my $began = now;
my $first = run_sql($node, "SELECT run_id FROM etl_run($DAY)", may_fail => 1, seconds => 200);
note sprintf 'the first run of %d pipelines took %.1f s', scalar @cases, now() - $began;

my $failing = grep { $_->{what} eq 'fails' } @cases;
is($first->{state} eq '00000' ? 0 : 1, $failing > 0 ? 1 : 0, 'etl_run fails when a run fails');
like($first->{err}, qr/ERROR:  P0001: \d+ of \d+ runs failed\nDETAIL:  run \d+ of pipeline "c\d+_/,
	'its error names the runs') if $failing > 1;

# The runs by pipeline.
my $latest = JSON::PP->new->decode(value($node, <<SQL));
SELECT json_object_agg(pipeline, json_build_object('state', state, 'hint', coalesce(error_hint, ''), 'task', coalesce(error_task, ''),
	'error', concat_ws(E'\\n', error_code, error_message, error_detail)))
FROM etl.runs
SQL

sub figures
{
	my ($case) = @_;
	my $name = $case->{name};
	my ($visible, $differs, $quarantined) = split /\|/, value($node, <<SQL);
SELECT (SELECT count(*) FROM raw.vr_$name),
	   (SELECT count(*) FROM (SELECT payload FROM raw.vr_$name EXCEPT SELECT payload FROM raw.vr_baseline) d)
		+ (SELECT count(*) FROM (SELECT payload FROM raw.vr_baseline EXCEPT SELECT payload FROM raw.vr_$name) d),
	   (SELECT count(*) FROM etl.quarantine WHERE pipeline = '$name')
SQL
	return ($visible, $differs, $quarantined);
}

sub check_success
{
	my ($case, $run) = @_;

	is($run->{state}, 'success', 'the run succeeds') or diag("$run->{error}\n$run->{hint}");
	return;
}

sub check_failure
{
	my ($case, $run) = @_;
	my ($visible) = figures($case);
	my $said = "$run->{error}\n$run->{hint}";

	is($run->{state}, 'failed', 'the run fails');
	like($said, $case->{pattern}, 'the error says how') or diag($said);
	like($run->{error}, qr{GET http://127\.0\.0\.1:\d+/\w+/\w+\?\S*case=$case->{name}\b}, 'the error names the request');
	isnt($run->{hint}, '', 'there is a hint');
	is($run->{task}, "raw.$case->{name}", 'the run names the task');
	is($visible, 0, 'readers see nothing of it');
	return;
}

# The record's bytes as received are those at its offset in the answer.
sub check_quarantine
{
	my ($case) = @_;
	my ($hex, $offset, $number, $slice, $code, $reason, $request) = split /\|/, value($node,
		"SELECT encode(record, 'hex'), byte_offset, record_number, slice, reason_code, replace(reason, '|', '/'), request FROM etl.quarantine WHERE pipeline = '$case->{name}'");
	my $record = pack 'H*', $hex // '';

	is($slice, 1, 'of the second page') or return;
	is($number, 5, 'it is the sixth record of its page');
	like($record, $case->{pattern}, 'it is the broken record');
	isnt($reason, '', 'with a reason');
	like($code, qr/^[0-9A-Z]{5}$/, 'with a code');
	like($request, qr{^GET http://127\.0\.0\.1:\d+/pages/same\?\S*page=2}, 'with the request');
	note("$case->{text}: $code $reason");
	# what is hidden in the request as it is kept, the API does not look at
	my ($address) = $request =~ /^GET (\S+)/;
	my $answer = HTTP::Tiny->new->get($address, { headers => { Authorization => "Bearer $TOKEN" } });
	ok(substr($answer->{content}, $offset, length $record) eq $record, 'its bytes are those received, at their place');
	return;
}

my $requested = pages_requested($api);
foreach my $case (@cases)
{
	my $run = $latest->{ $case->{name} } // { state => 'none', error => '', hint => '' };

	subtest "$case->{what}: $case->{text}" => sub {
		if ($case->{what} eq 'fails')
		{
			check_failure($case, $run);
			return;
		}
		check_success($case, $run);
		my ($visible, $differs, $quarantined) = figures($case);
		my $rejected = $case->{what} eq 'rejects' ? 1 : 0;
		is($quarantined, $rejected, "$rejected records are in quarantine");
		is($visible, $case->{rows} - $rejected, 'the others are loaded');
		is($differs, $rejected, 'they are right') if $case->{same} && $case->{rows} >= 30;
		check_quarantine($case) if $rejected;
		if ($case->{what} eq 'recovers')
		{
			my $requests = $requested->{ $case->{name} }{2} // 0;
			my $attempts = value($node, "SELECT attempts FROM etl.slices WHERE pipeline = '$case->{name}' AND slice = 1");
			ok($requests >= $ATTEMPTS && $requests <= $case->{requests}, 'the page took three requests') or diag("it took $requests");
			# bytes left over on a kept connection can spoil an attempt each before it is sent, or have libcurl ask again
			ok($attempts == $ATTEMPTS || $case->{requests} > $ATTEMPTS && abs($attempts - $ATTEMPTS) <= 2, 'which are counted')
				or diag("counted as $attempts of $requests");
		}
	};
}

# ------------------------------------------------------------ what single faults are about

sub named { my ($fault) = @_; my ($case) = grep { ($_->{fault} // '') eq $fault } @cases; return $case->{name}; }

SKIP:
{
	skip 'only some cases', 1 if $ENV{ETL_CASES};
	is(value($node, "SELECT payload ->> 'value', jsonb_typeof(payload -> 'value') FROM raw.vr_" . named('big_integer') . " WHERE payload ->> 'id' = '16'"),
		'1180591620717411303424|number', '2^70 is kept exactly, as a number');
	is(value($node, "SELECT payload ->> 'id' FROM raw.vr_" . named('duplicate_key') . ' WHERE record_number = 5 AND slice = 1'), '0',
		'of a key that comes twice the last value counts, as in PostgreSQL');
	is(value($node, "SELECT length(payload ->> 'value') FROM raw.vr_" . named('long_string') . " WHERE payload ->> 'id' = '16'"), 3 << 20,
		'a long string is kept whole');
	is(value($node, "SELECT count(*) FROM raw.vr_" . named('many_fields') . ", jsonb_object_keys(payload) k WHERE payload ->> 'id' = '16'"), 5003,
		'all fields are kept');
	is(value($node, "SELECT payload ->> 'Robert''); drop table students;--' FROM raw.vr_" . named('hostile_names') . " WHERE payload ->> 'id' = '16'"),
		q{Robert'); drop table students;--}, 'hostile names are kept as they are');

	# credentials stay where they belong
	my $other = $api->control('GET', 'other_host');
	my @arrived = map { $_->{target} } @{ $other->{entries} };
	ok((grep { /case=\w*_redirect_other_host/ } @arrived) > 0, 'the redirect to another host was followed');
	is($other->{with_authorization}, 0, 'without credentials');
	is((grep { /case=\w*_link_other_host/ } @arrived), 0, 'the link to another host was not');
	my @pages = grep { $_->{target} =~ /case=baseline\b/ } $api->requests('/pages/same');
	ok((grep { ($_->{headers}{authorization} // '') =~ /^Bearer sha256:/ } @pages) == @pages && @pages, 'the API itself got the token');
}

is(value($node, 'SELECT count(*) FROM etl.loads WHERE fetched <> loaded + quarantined'), 0, 'fetched = loaded + quarantined for every load');
is(value($node, "SELECT count(*) FROM etl.loads l WHERE state = 'published' AND quarantined <> (SELECT count(*) FROM etl.quarantine q WHERE q.load_id = l.load_id)"), 0,
	'the quarantine has as many records as the loads say');

# ------------------------------------------------------------- when the source is well again

$api->heal;
run_sql($node, 'SELECT etl.forget_quotas(srvname) FROM pg_foreign_server');
$began = now;
my $second = run_sql($node, "SELECT run_id FROM etl_run($DAY)", may_fail => 1, seconds => 120);
note sprintf 'the second run took %.1f s', now() - $began;
$requested = pages_requested($api);
# what ended in a way that a resumed load could end in again begins anew
my %again = map { $_->{name} => 1 } grep { $latest->{ $_->{name} }{error} =~ /^(?:HV000|54000)\b/ } @cases;
foreach my $case (grep { $_->{well} } @cases)
{
	my ($visible, $differs) = figures($case);
	my $state = value($node, "SELECT state FROM etl.runs WHERE pipeline = '$case->{name}' ORDER BY run_id DESC LIMIT 1");
	my $wrong = join ', ', grep { defined }
	  ($state ne 'success' ? "run $state" : undef), ($visible != 30 ? "$visible rows" : undef), ($differs ? "$differs rows differ" : undef),
	  # what was committed is not asked for again
	  ($case->{what} eq 'fails' && !$again{ $case->{name} } && ($requested->{ $case->{name} }{1} // 0) > 1 ? 'page 1 was fetched again' : undef);
	is($wrong, '', "well again after $case->{text} ($case->{what})");
}

# --------------------------------------------------------------------------- rate limits

# Shown while it is waited for, to other sessions.
my @LIMITS = (
	[ '429 with Retry-After', 'status_429_retry_after', { seconds => 2 } ],
	[ '429 with a date in Retry-After', 'status_429_retry_after', { seconds => 2, form => 'date' } ],
	[ '403 with X-RateLimit-Reset', 'status_403_rate_limited', { seconds => 2 } ],
	[ '403 of a secondary limit with Retry-After', 'status_403_secondary', { retry_after => 2 } ],
);
foreach my $limit (@LIMITS)
{
	my ($text, $fault, $params) = @$limit;

	$api->heal;
	$api->fault(match => '/pages/same?case=baseline', page => 2, fault => $fault, times => 1, %$params);
	my $caller = session($node);
	my $since = now;
	$caller->send("SELECT state, fetched FROM etl_run($DAY, 'baseline')");
	within(5, "$text: the wait is seen by others", sub {
		value($node, "SELECT activity FROM etl.progress WHERE pipeline = 'baseline' AND kind = 'extract'") =~ /waiting for rate limit until 20\d\d-/;
	});
	my $result = $caller->wait(15);
	is($result && $result->{out}, 'success|30', "$text: the run succeeds") or diag($result && $result->{err});
	cmp_ok(now() - $since, '>=', 1.9, "$text: and not before the time");
	like($result->{err}, qr/NOTICE.*waiting for rate limit until/, "$text: the caller sees it too") if $result;
	$caller->close;
}

# A limit for all requests, as an API has it: the run gets through in several windows.
$api->heal;
$api->control('POST', 'rate_limit', { limit => 2, window_seconds => 1, status => 403 });
my $result = run_sql($node, "SELECT state, fetched FROM etl_run($DAY, 'baseline')", may_fail => 1);
is($result->{out}, 'success|30', 'a run over a limit of two requests a window gets through') or diag($result->{err});
$api->control('POST', 'rate_limit', {});

# What would take longer than max_wait fails at once and says until when.
$api->fault(match => '/pages/same?case=baseline', page => 1, fault => 'status_429_retry_after', seconds => 7200);
my $since = now;
$result = run_sql($node, "SELECT state FROM etl_run($DAY, 'baseline')", may_fail => 1);
cmp_ok(now() - $since, '<', 5, 'a limit longer than max_wait fails at once');
is_failure($result, '53400', 'a limit longer than max_wait');
like($result->{err}, qr/is rate limited until 20\d\d-\d\d-\d\d .*max_wait/s, 'it names the time and the setting');
is(value($node, 'SELECT count(*) FROM raw.vr_baseline'), 30, 'readers keep the last good data');
$api->heal;

# ------------------------------------------------------------------------------- secrets

# Everything etl keeps, but the definitions, which hold what was declared.
my $hits = value($node, <<SQL);
SET client_min_messages = notice;
DO \$\$
DECLARE
	r record;
	hits bigint;
	secret text;
BEGIN
	FOR r IN SELECT c.oid::regclass AS relation FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			 WHERE n.nspname IN ('etl', 'raw') AND c.relkind IN ('r', 'p', 'v') LOOP
		EXECUTE format('SELECT count(*) FROM %s x WHERE strpos(x::text, %L) > 0', r.relation, '$TOKEN') INTO hits;
		IF hits > 0 THEN
			RAISE EXCEPTION 'the token is in %', r.relation;
		END IF;
	END LOOP;
END
\$\$;
SELECT 'none';
SQL
is($hits, 'none', 'the token is in no table and no view');
is(value($node, "SELECT count(*) FROM etl.runs r WHERE strpos(r::text, '$QUERY_SECRET') > 0"), 0, 'a secret of the query is in no error of a run');
is(value($node, "SELECT count(*) FROM etl.task_runs r WHERE strpos(r::text, '$QUERY_SECRET') > 0"), 0, 'nor of a task');
is(value($node, "SELECT count(*) FROM etl.log r WHERE strpos(r::text, '$QUERY_SECRET') > 0"), 0, 'nor in the log');
is(value($node, "SELECT count(*) FROM etl.quarantine r WHERE strpos(request, '$QUERY_SECRET') > 0"), 0, 'nor in the requests of quarantine');
is(value($node, "SELECT count(*) FROM etl.slices r WHERE strpos(request, '$QUERY_SECRET') > 0"), 0, 'nor in the requests of slices');
unlike($first->{err} . $second->{err}, qr/\Q$TOKEN\E|\Q$QUERY_SECRET\E/, 'no secret is in what callers are told');
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$TOKEN\E/, "the token is not in the server's log");
unlike($log, qr/\Q$QUERY_SECRET\E/, "nor is a secret of the query");
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
