# What a name means may change between the look and the connection (DNS rebinding), and be
# several addresses, some of them allowed: nothing is ever sent to one that is not.  And
# what only looks like an address is not fetched at all: references of JSON Schemas.
use strict;
use warnings;

use EtlTest;
use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'another library is preloaded' if $ENV{ETL_SANITIZED};

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $library = "$directory/resolver.so";
my $list = "$directory/addresses";

# What *.rebind.test means from now on.
sub means
{
	my (@addresses) = @_;

	open(my $out, '>', "$list.new") or die $!;
	print $out map { "$_\n" } @addresses;
	close $out;
	rename("$list.new", $list) or die $!;
	return;
}

system('cc', '-shared', '-fPIC', '-o', $library, dirname(__FILE__) . '/resolver.c', '-ldl') == 0 or die 'resolver.c does not compile';
chmod 0755, $directory, $library;
means('127.0.0.1');

my $api = EtlTest::Api->start;
my $port = $api->url =~ s/.*://r;
local $ENV{ETL_TEST_ADDRESSES} = $list;
local $ENV{LD_PRELOAD} = $library;
my $node = make_node('main', preload => 1, allowed_hosts => '*, 127.0.0.1');
delete $ENV{LD_PRELOAD};

run_sql($node, <<SQL);
CREATE SERVER names FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://api.rebind.test:$port', max_attempts '2', retry_delay '10 ms', connect_timeout '500 ms', concurrency '1');
SELECT etl.create_pipeline('names');
SELECT etl.add_extract('names', 'names.raw', 'names', '/pages/names', query => '{"pages": 4, "per_page": 2}', records => '\$.data[*]', pagination => '{"type": "link_header"}',
	options => '{"conditional": false}');
SQL

# A run by a worker that has looked no name up yet.
sub run_afresh
{
	run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'etl %'");
	run_sql($node, "UPDATE etl.load SET refetch = true WHERE state IN ('loading', 'complete')");
	my $result = run_sql($node, "SELECT state, fetched FROM etl_run(date '2026-11-10', 'names')", may_fail => 1);

	return $result->{state} eq '00000' ? $result->{out} : $result->{err};
}

# A test: nothing has arrived at 127.0.0.2, where the API listens as well.
sub nothing_arrived
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($api->control('GET', 'other_host')->{requests}, 0, 'nothing has arrived where it must not');
}

is(run_afresh(), 'success|8', 'a name whose address is allowed');
means('127.0.0.2');
like(run_afresh(), qr/: address\nDETAIL:  host "api\.rebind\.test" is at 127\.0\.0\.2, a loopback address/, 'the same name at another address is refused');
nothing_arrived();
foreach my $address ('169.254.169.254', '10.0.0.1', '0.0.0.0', '::ffff:127.0.0.2', 'fd00::1')
{
	means($address);
	like(run_afresh(), qr/: address\nDETAIL:  host "api\.rebind\.test" is at /, "at $address, too");
}
means('127.0.0.2', '127.0.0.1');
like(run_afresh(), qr/^success\|8$|: address\n/, 'of two addresses the allowed one, if any');
nothing_arrived();
means('127.0.0.1', '127.0.0.2');
like(run_afresh(), qr/^success\|8$|: address\n/, 'in whatever order');
nothing_arrived();

# In mid-run: the connection breaks, and by then the name means something else.
means('127.0.0.1');
$api->fault(match => '/pages/names', page => 3, fault => 'reset_before_answer', times => 1);
$api->fault(match => '/pages/names', page => 2, fault => 'delay', ms => 1000, times => 1);
run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'etl %'");
my $caller = session($node);
$caller->send("SELECT state, fetched FROM etl_run(date '2026-11-11', 'names')");
wait_until('page 2 is asked for', 20, sub { scalar grep { ($_->{page} // 1) == 2 } $api->in_flight('/pages/names') });
means('127.0.0.2');
my $result = $caller->wait(30) // BAIL_OUT('the run hangs');
like($result->{out} || $result->{err}, qr/^success\|8$|: address\n/, 'a name that changes in mid-run');
nothing_arrived();
$caller->close;

# By a redirect.
means('127.0.0.2');
run_sql($node, "CREATE SERVER plain FOREIGN DATA WRAPPER etl_http OPTIONS (base_url 'http://127.0.0.1:$port', max_attempts '1')");
$api->control('PUT', 'routes', { path => '/moved', responses => [ { status => 302, headers => { Location => "http://other.rebind.test:$port/pages/x" }, body => '' } ] });
like(run_sql($node, "SELECT * FROM etl.peek('plain', '/moved')", may_fail => 1)->{err}, qr/other\.rebind\.test" is at 127\.0\.0\.2/, 'a redirect to such a name');
nothing_arrived();

# ---------------------------------------------------------------- references of schemas

my $before = () = $api->requests;
foreach my $uri ("http://127.0.0.1:$port/pages/schema", "http://127.0.0.1:$port/pages/schema#/a", 'file:///etc/passwd')
{
	is(run_sql($node, "SELECT etl.is_valid_json('{\"\$ref\": \"$uri\"}', '1')", may_fail => 1)->{state}, '42704', "\"\$ref\": \"$uri\" leads nowhere");
	is(run_sql($node, "SELECT etl.add_extract('names', 'names.other', 'plain', '/pages/x', record_schema => '{\"items\": {\"\$ref\": \"$uri\"}}')", may_fail => 1)->{state}, '42704', 'in a declaration, too');
}
is(run_sql($node, "SELECT etl.is_valid_json('{\"\$schema\": \"http://127.0.0.1:$port/pages/dialect\"}', '1')", may_fail => 1)->{state}, '0A000', 'nor does a "$schema"');
is(scalar(() = $api->requests), $before, 'nothing is fetched for them');

$node->stop;
done_testing();
