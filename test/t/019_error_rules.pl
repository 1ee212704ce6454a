# What a task says about answers that are not simply a page: every action, by status, by
# class, by a value of the body, by a text; and that no error is taken for an empty success.
use strict;
use warnings;

use Encode;
use EtlTest;
use IO::Compress::Gzip 'gzip';
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;
my $json = JSON::PP->new->ascii->canonical;
my $secrets = "$PostgreSQL::Test::Utils::tmp_check/secrets";

mkdir $secrets;
run_sql($node, <<SQL);
ALTER SYSTEM SET etl.secret_directory = '$secrets';
SELECT pg_reload_conf();
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '3', max_wait '4 s');
SQL

# Answers of a path, one after another: a status, a body (a reference to a string: its bytes), headers.
my $number = 0;
sub answers
{
	my (@answers) = @_;
	my $path = '/answers_' . ++$number;

	$api->control('PUT', 'routes', { path => $path, responses => [ map { {
			status => $_->[0],
			ref $_->[1] eq 'SCALAR' ? (body_base64 => encode_base64(${ $_->[1] }, ''))
			: (body => ref $_->[1] ? $json->encode($_->[1]) : $_->[1] // ''),
			headers => $_->[2] // {},
	} } @answers ] });
	return $path;
}

my $good = [ 200, { data => [ { id => 1 }, { id => 2 } ] } ];

# Runs a task over a path; what became of it: the state or the error, the records, how often
# the source was asked.
sub outcome
{
	my ($path, $arguments, $server) = @_;
	my $name = 'p_' . ++$number;

	$server //= 'api';
	run_sql($node, <<SQL);
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', '$name.raw', '$server', '$path', records => '\$.data[*]', key => '{\$.id}', $arguments);
SQL
	my $result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-10', '$name')", may_fail => 1);
	my $records = value($node, "SELECT count(*) FROM $name.vr_raw");
	my $asked = () = $api->requests($path);

	return ($result->{state} eq '00000' ? $result->{out} : $result->{err}, $records, $asked, $name);
}

# A test: what became of it is like that.
sub becomes
{
	my ($what, $path, $arguments, $state, $records, $asked) = @_;
	my @became = outcome($path, $arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($became[0], ref $state ? $state : qr/^$state$/, $what);
	is("$became[1] $became[2]", "$records $asked", "$what: records, requests");
	return $became[3];
}

sub rules { my (@rules) = @_; return "error_rules => '" . $json->encode(\@rules) =~ s/'/''/gr . "'"; }

# -------------------------------------------------------------------- each action, by status

becomes('without a rule 409 fails', answers([ 409, { error => 'busy' } ], $good), q(on_status => '{}'), qr/HV000:.*failed with status 409 after 1 attempt/, 0, 1);
becomes('retry', answers([ 409, { error => 'busy' } ], [ 409, '' ], $good), q(on_status => '{"409": "retry"}'), 'success', 2, 3);
becomes('retry, but not for ever', answers([ 409, { error => 'busy' } ]), q(on_status => '{"409": "retry"}'), qr/08006:.*failed with status 409 after 3 attempts/, 0, 3);
becomes('ignore', answers([ 404, '' ]), q(on_status => '{"404": "ignore"}'), 'success', 0, 1);
becomes('fail, though it would be tried again', answers([ 500, { error => 'no such table' } ], $good), q(on_status => '{"500": "fail"}'), qr/HV000:.*failed by a rule of the task: the answer is an error.*DETAIL:.*Status 500 after 1 attempt.*no such table/s, 0, 1);
becomes('fail with a message', answers([ 402, { error => 'unpaid' } ]), rules({ status => 402, action => 'fail', message => 'the subscription has ended' }), qr/HV000:.*failed by a rule of the task: the subscription has ended.*HINT:.*error_rules/s, 0, 1);
becomes('rate_limited', answers([ 420, '' ], [ 420, '' ], $good), q(on_status => '{"420": "rate_limited"}'), 'success', 2, 3);
becomes('rate_limited until then', answers([ 509, '', { 'Retry-After' => 1 } ], $good), q(on_status => '{"509": "rate_limited"}'), 'success', 2, 2);
becomes('rate_limited for longer than max_wait', answers([ 509, '', { 'Retry-After' => 60 } ], $good), q(on_status => '{"509": "rate_limited"}'), qr/53400:.*is rate limited until/, 0, 1);
becomes('absent', answers([ 404, '' ]), q(on_status => '{"404": "absent"}'), 'success', 0, 1);
is(value($node, 'SELECT absent FROM etl.loads ORDER BY load_id DESC LIMIT 1'), 't', 'absent: it is noted');
becomes('stop_pagination', answers([ 422, { message => 'only the first 1000 results' } ]), q(on_status => '{"422": "stop_pagination"}'), 'success', 0, 1);

# refresh_auth reads the secrets again
append_to_file("$secrets/token", 'old');
$api->control('POST', 'auth', { token => 'new' });
run_sql($node, "CREATE SERVER keyed FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms'); CREATE USER MAPPING FOR CURRENT_USER SERVER keyed OPTIONS (auth 'bearer', token_file 'token')");
my $path = answers([ 419, { message => 'token expired' } ], $good);
$api->control('POST', 'auth', { token => undef });
my @became = outcome($path, q(on_status => '{"419": "refresh_auth"}'), 'keyed');
like($became[0], qr/28000:.*failed with status 419/, 'refresh_auth: the same secret again is none to try');
is($became[2], 1, 'refresh_auth: it is not sent again');
$path = answers([ 419, { message => 'token expired' } ], $good);
{
	# rewritten while the request is under way
	$api->latency(300);
	run_sql($node, "SELECT etl.create_pipeline('rotated'); SELECT etl.add_extract('rotated', 'rotated.raw', 'keyed', '$path', records => '\$.data[*]', on_status => '{\"419\": \"refresh_auth\"}')");
	my $caller = session($node);
	$caller->send("SELECT state FROM etl_run(date '2026-11-10', 'rotated')");
	wait_until('the request is under way', 10, sub { return $api->in_flight($path) });
	open(my $out, '>', "$secrets/token") or die $!;
	print $out 'new';
	close $out;
	is($caller->wait(20)->{out}, 'success', 'refresh_auth: another secret is tried');
	$api->latency(0);
	my @tokens = map { $_->{headers}{authorization} } $api->requests($path);
	is(scalar(@tokens), 2, 'refresh_auth: once');
	isnt($tokens[0], $tokens[1], 'refresh_auth: which differs');
}

# --------------------------------------------------------------- classes, lists, their order

becomes('a class', answers([ 418, '' ]), q(on_status => '{"4xx": "ignore"}'), 'success', 0, 1);
becomes('a class does not fit others', answers([ 302, '' ]), q(on_status => '{"4xx": "ignore"}'), qr/failed/, 0, 1);
becomes('the exact status goes before its class', answers([ 404, '' ]), q(on_status => '{"4xx": "fail", "404": "ignore"}'), 'success', 0, 1);
becomes('the class is for the others', answers([ 403, '' ]), q(on_status => '{"4xx": "fail", "404": "ignore"}'), qr/failed by a rule/, 0, 1);
becomes('a list', answers([ 410, '' ]), rules({ status => [ 404, 410, 451 ], action => 'ignore' }), 'success', 0, 1);
becomes('error_rules go before on_status', answers([ 404, { code => 7 } ]), rules({ status => 404, path => '$.code', equals => 7, action => 'fail', message => 'seven' }) . q(, on_status => '{"404": "ignore"}'), qr/a rule of the task: seven/, 0, 1);
becomes('and are tried in their order', answers([ 404, { code => 7 } ]), rules({ status => '4xx', action => 'ignore' }, { status => 404, action => 'fail' }), 'success', 0, 1);
becomes('a class is not a prefix', answers([ 200, { data => [] } ]), q(on_status => '{"5xx": "ignore", "1xx": "fail"}'), 'success', 0, 1);

# ---------------------------------------------------------------------- the body of a 200

my $failed = rules({ path => '$.error', action => 'fail' });
foreach my $error ('boom', { code => 1 }, [1], 1, JSON::PP::true, 'false', '0', ' ')
{
	my $shown = ref $error ? $json->encode([$error]) : $error;

	becomes("an error beside records: $shown", answers([ 200, { data => [ { id => 1 } ], error => $error } ]), $failed, qr/HV000:.*failed by a rule/, 0, 1);
}
foreach my $none ('null', 'false', '0', '""', '[]', '{}', '[ ]', '{ }', "[\n]", '0.0')
{
	becomes("an error that is none: $none", answers([ 200, qq({"error": $none, "data": [{"id": 1}]}) ]), $failed, 'success', 1, 1);
}
becomes('no error', answers($good), $failed, 'success', 2, 1);
becomes('a value', answers([ 200, { status => 'pending' } ], [ 200, { status => 'pending' } ], [ 200, { status => 'done', data => [ { id => 1 } ] } ]), rules({ path => '$.status', equals => 'pending', action => 'retry' }), 'success', 1, 3);
becomes('a value that stays', answers([ 200, { status => 'pending' } ]), rules({ path => '$.status', equals => 'pending', action => 'retry' }), qr/08006:.*status 200 after 3 attempts/, 0, 3);
becomes('a number', answers([ 200, { ok => 1, data => [ { id => 1 } ] } ]), rules({ path => '$.ok', equals => 0, action => 'fail' }), 'success', 1, 1);
becomes('a number, spelt otherwise', answers([ 200, '{"ok": 0.00, "data": [{"id": 1}]}' ]), rules({ path => '$.ok', equals => 0, action => 'fail' }), qr/failed by a rule/, 0, 1);
becomes('a boolean', answers([ 200, { ok => JSON::PP::false, data => [ { id => 1 } ] } ]), rules({ path => '$.ok', equals => JSON::PP::false, action => 'fail' }), qr/failed by a rule/, 0, 1);
becomes('a text in a value', answers([ 200, '{"message": "quota \\u0065xceeded", "data": []}' ], $good), rules({ path => '$.message', contains => 'quota exceeded', action => 'retry' }), 'success', 2, 2);
becomes('not elsewhere', answers([ 200, { message => 'fine', data => [ { id => 1, text => 'quota exceeded' } ] } ]), rules({ path => '$.message', contains => 'quota exceeded', action => 'retry' }), 'success', 1, 1);
becomes('a text in a body that is no JSON', answers([ 200, '<html>Down for maintenance</html>' ], $good), rules({ contains => 'Down for maintenance', action => 'retry' }), 'success', 2, 2);
becomes('a path leads nowhere in such a body', answers([ 500, '<html>error</html>' ], $good), rules({ path => '$.error', action => 'fail' }), 'success', 2, 2);
becomes('a rate limit in a 200', answers([ 200, { errors => [ { type => 'RATE_LIMITED' } ] }, { 'Retry-After' => 1 } ], $good), rules({ contains => '"RATE_LIMITED"', action => 'rate_limited' }), 'success', 2, 2);
becomes('an empty page by rule', answers([ 200, { message => 'No results' } ]), rules({ path => '$.message', equals => 'No results', action => 'ignore' }), 'success', 0, 1);
becomes('what is not that is no empty page', answers([ 200, { message => 'No luck' } ]), rules({ path => '$.message', equals => 'No results', action => 'ignore' }), qr/22032:.*has no member "data"/, 0, 1);

# as it reads, not as it was sent: compressed, in another charset
my $late = encode('UTF-16', decode('UTF-8', '{"state": "verspätet"}'));
my $compressed;
gzip(\'{"state": "pending", "data": []}' => \$compressed);
becomes('a value of a compressed body', answers([ 200, \$compressed ], $good), rules({ path => '$.state', equals => 'pending', action => 'retry' }), 'success', 2, 2);
becomes('a text in one', answers([ 503, \$compressed ]), rules({ contains => '"pending"', action => 'fail' }), qr/failed by a rule.*the answer begins: \{"state": "pending"/s, 0, 1);
becomes('a value in UTF-16', answers([ 200, \$late, { 'Content-Type' => 'application/json; charset=utf-16' } ], $good), rules({ path => '$.state', equals => decode('UTF-8', 'verspätet'), action => 'retry' }), 'success', 2, 2);
becomes('a text in a charset that PostgreSQL converts', answers([ 200, \encode('iso-8859-1', decode('UTF-8', '<p>geänderte Zeiten</p>')), { 'Content-Type' => 'text/html; charset=iso-8859-1' } ], $good),
	rules({ contains => decode('UTF-8', 'geänderte'), action => 'retry' }), 'success', 2, 2);
becomes('an error that is not compressed as the data are', answers([ 200, '{"state": "pending"}' ], [ 404, 'no such file' ]), rules({ contains => 'pending', action => 'retry' }, { contains => 'no such', action => 'ignore' }) . q(, options => '{"compression": "gzip"}'), 'success', 0, 2);
becomes('a body that is looked at and read', answers([ 200, \encode('UTF-16', '{"data": [{"id": 1}, {"id": 2}, {"id": 3}]}'), { 'Content-Type' => 'application/json; charset=utf-16' } ]), $failed, 'success', 3, 1);

# ------------------------------------------------ no error is taken for an empty success

foreach my $error ([ 200, { error => 'nothing here' } ], [ 200, { data => { error => 'x' } } ], [ 200, { data => 'none' } ], [ 200, '' ], [ 200, '[]' ], [ 200, '<html></html>' ], [ 200, 'null' ], [ 201, 'OK' ],
	[ 301, '' ], [ 304, '' ], [ 400, { data => [] } ], [ 401, { data => [] } ], [ 403, { data => [] } ], [ 404, { data => [] } ], [ 418, '' ], [ 451, { data => [] } ], [ 501, '' ])
{
	my @became = outcome(answers($error), q(on_status => '{"409": "ignore"}'));

	like($became[0], qr/^(?:ERROR|.*ERROR):  (?:HV000|22032|28000|08006)/s, 'an error: ' . $error->[0] . ' ' . (ref $error->[1] ? $json->encode($error->[1]) : $error->[1]));
}

# --------------------------------------------------------------------- within a pagination

sub serve { my ($name, $count) = @_; $api->control('POST', 'datasets', { name => $name, records => [ map { { id => $_ } } 1 .. $count ] }); return; }

# by number, one after another and at once: stop_pagination ends it, but for what is under
# way by then, ignore leaves a page out
foreach my $pagination ('{"type": "page_number"}', '{"type": "page_number", "total": "$.total"}')
{
	foreach my $case ([ stop_pagination => '{"422": "stop_pagination"}', $pagination =~ /total/ ? qr/^30 (?:[4-9]|1\d)$/ : qr/^30 4$/ ], [ ignore => '{"422": "ignore"}', $pagination =~ /total/ ? qr/^86 10$/ : qr/^30 4$/ ])
	{
		my ($action, $on_status, $expected) = @$case;
		my $name = 'paged_' . ++$number;

		serve($name, $action eq 'ignore' ? 96 : 396);
		$api->fault(match => "/datasets/$name", page => $action eq 'ignore' ? 4 : [ 4 .. 40 ], fault => 'status_422');
		my @became = outcome("/datasets/$name", "pagination => '$pagination', on_status => '$on_status'");
		is($became[0], 'success', "$action on page 4 with $pagination");
		like("$became[1] $became[2]", $expected, "$action on page 4 with $pagination: records, requests");
	}
}
# stopped pages are not asked for when the load is resumed
serve('stopped', 400);
$api->fault(match => '/datasets/stopped', page => [ 20 .. 40 ], fault => 'status_422');
$api->fault(match => '/datasets/stopped', page => 15, fault => 'status_500', times => 3, skip => 0);
run_sql($node, "CREATE SERVER slow FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '300 ms', max_attempts '3', concurrency '8')");
@became = outcome('/datasets/stopped', q(pagination => '{"type": "page_number", "total": "$.total"}', on_status => '{"422": "stop_pagination"}'), 'slow');
like($became[0], qr/status 500/, 'a page before the stop fails');
my $before = $became[2];
is(value($node, "SELECT state FROM etl_run(date '2026-11-10', '$became[3]')"), 'success', 'resumed');
is(value($node, "SELECT count(*) FROM $became[3].vr_raw"), 190, 'it has what is before the stop');
my @again = map { $_->{page} } ($api->requests('/datasets/stopped'))[ $before .. -1 + (() = $api->requests('/datasets/stopped')) ];
is("@again", '15', 'and asked for nothing else');

# a page that is not there (yet) is noted
serve('holes', 40);
$api->fault(match => '/datasets/holes', page => 3, fault => 'status_404');
@became = outcome('/datasets/holes', q(pagination => '{"type": "page_number", "total": "$.total"}', on_status => '{"404": "absent"}'));
is("@became[0 .. 2]", 'success 30 4', 'absent on page 3');
is(value($node, "SELECT absent, fetched FROM etl.loads WHERE pipeline = '$became[3]'"), 't|30', 'the load is not whole, and says so');

$node->stop;
done_testing();
