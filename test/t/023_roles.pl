# The roles of the extension where it needs more than one session, database or cluster: runs
# under way, and what CREATE EXTENSION, DROP EXTENSION, a dump and a restore make of them.
# The table of privileges is in the regression test "roles".
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = "date '2026-11-19'";
my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1, extension => 0);

sub client
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	my $good = IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);

	return $good && $err eq '' ? '' : "$command[0] failed or warned: $err";
}

sub roles { return value($_[0], "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^etl_'"); }

# --------------------------------------------------------------------- made once, for all

is(roles($node), '', 'there are no roles before');
my $created = run_sql($node, 'CREATE EXTENSION etl');
is(roles($node), 'etl_admin etl_operator etl_reader', 'CREATE EXTENSION makes them');
is($created->{err}, '', 'without a word');
run_sql($node, 'CREATE DATABASE second; CREATE DATABASE third');
my @sessions = map { session($node, db => $_) } qw(second third);
$_->send('CREATE EXTENSION etl') foreach @sessions;
is($_->wait(60)->{err}, '', 'in other databases, at the same time, it finds them') foreach @sessions;
is(value($node, "SELECT count(*) FROM pg_auth_members WHERE member IN ('etl_admin'::regrole, 'etl_operator'::regrole)"), 2, 'each is a member of the next once');

run_sql($node, <<'SQL');
CREATE ROLE alice LOGIN; CREATE ROLE nora LOGIN; CREATE ROLE rita LOGIN IN ROLE etl_reader;
CREATE ROLE olga LOGIN IN ROLE etl_operator; CREATE ROLE ada LOGIN IN ROLE etl_admin;
GRANT CREATE ON DATABASE postgres TO alice, ada;
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO alice;
SQL

# -------------------------------------------------------------------------- a run under way

run_sql($node, declare_pages(api => $api, pages => 3, per_page => 5, server_options => ", max_attempts '1'"), user => 'alice');

# A run of alice's pipeline that somebody asks for, hanging at its second page.
sub hang
{
	my ($who) = @_;

	$api->heal;
	$api->fault(match => '/pages/*', page => 2, fault => 'hang');
	my $caller = session($node, user => $who);
	$caller->send("SELECT state FROM etl_run($DAY, 'pages')");
	wait_until('the run hangs', 20, sub { return $api->in_flight('/pages/*') > 0 });
	return $caller;
}

sub active { return value($node, "SELECT max(run_id) FROM etl.runs WHERE state IN ('queued', 'running')"); }

my $caller = hang('olga');
my $run = active();
is(value($node, "SELECT requested_by FROM etl.runs WHERE run_id = $run"), 'olga', 'an operator runs the pipeline of another role');
is(value($node, "SELECT DISTINCT usename FROM pg_stat_activity WHERE backend_type = 'etl worker'"), 'alice', 'by workers of its owner');
is(value($node, "SELECT count(*) FROM etl.progress WHERE activity ~ 'page 2' AND worker_pid IS NOT NULL", user => $_), 1, "$_ sees what it does") foreach qw(alice rita olga ada);
is(value($node, 'SELECT count(*) FROM etl.progress', user => 'nora'), 0, 'somebody else does not');
is(run_sql($node, "SET ROLE etl_reader; SELECT count(*) FROM etl.progress WHERE activity ~ 'page 2'", user => 'rita')->{out}, 1, 'the role in use counts, not the session');
is(run_sql($node, "SELECT etl.cancel($run)", user => 'rita', may_fail => 1)->{state}, '42501', 'a reader cannot cancel it');
is(run_sql($node, "SELECT etl.cancel($run)", user => 'nora', may_fail => 1)->{state}, '42704', 'for somebody else it does not exist');
is(value($node, "SELECT etl.cancel($run, 'enough')", user => 'ada'), 'cancelling', 'an admin can');
is($caller->wait(10)->{state}, '57014', 'and the operator learns of it');
is(value($node, "SELECT requested_by FROM etl.cancel_request WHERE run_id = $run"), 'ada', 'who it was is kept');

# Left over from a crash: whoever cleans up, the owner's log has it.
$caller = hang('alice');
$run = active();
$node->stop('immediate');
$caller->wait(10);
$node->start;
$api->heal;
# the coordinator that comes at the start of a server may have been first
my $left = run_sql($node, "SELECT etl.cancel($run)", user => 'olga', may_fail => 1);
like($left->{out} . $left->{state}, qr{^(cancell(ed|ing)00000|55000)$}, 'an operator ends what a crash left over') or diag($left->{err});
is(value($node, "SELECT count(*) > 0 FROM etl.log WHERE run_id = $run AND level IN ('WARN', 'ERROR')", user => 'alice'), 't', 'which is in the log');
is(value($node, "SELECT state FROM etl_run($DAY)", user => 'olga'), 'success', 'and runs all that is to be run');
is(run_sql($node, "SELECT state FROM etl_run($DAY)", user => $_, may_fail => 1)->{state}, '42501', "$_ has nothing to run, and is told so") foreach qw(rita nora);
is(value($node, "SELECT etl.pause('pages')", user => 'olga'), 1, 'an operator pauses a pipeline');
is(run_sql($node, "SELECT state FROM etl_run($DAY, 'pages')", user => 'alice', may_fail => 1)->{state}, '55000', 'also for its owner');
is(value($node, 'SELECT etl.resume()', user => 'alice'), 1, 'who can resume it');

# An admin has a source and a pipeline of her own; nobody else may touch them.
run_sql($node, declare_pages(api => $api, name => 'adas', pages => 2, per_page => 5, server_options => ", verify_tls 'false'"), user => 'ada');
is(value($node, "SELECT state FROM etl_run($DAY, 'adas')", user => 'ada'), 'success', 'an admin makes a source and a pipeline on it');
is(run_sql($node, "ALTER SERVER adas OPTIONS (SET base_url 'http://127.0.0.1:9')", user => $_, may_fail => 1)->{state}, '42501', "$_ cannot change her source") foreach qw(alice olga);

# --------------------------------------------------------------------- dump and restore

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my @at = ('-h', $node->host, '-p', $node->port);
is(client('pg_dump', @at, '-Fc', '-f', "$tmp/one.dump", 'postgres'), '', 'pg_dump of one database');
is(client('pg_dumpall', @at, '-f', "$tmp/all.sql"), '', 'pg_dumpall');

sub check_copy
{
	my ($copy, $name) = @_;

	is(roles($copy), 'etl_admin etl_operator etl_reader', "$name: the roles are there");
	is(value($copy, "SELECT pg_has_role('etl_admin', 'etl_operator', 'USAGE') AND pg_has_role('etl_operator', 'etl_reader', 'USAGE')"), 't', "$name: and members of each other");
	is(value($copy, "SELECT has_foreign_data_wrapper_privilege('etl_admin', 'etl_http', 'USAGE') AND has_function_privilege('etl_admin', 'etl.register_schema(text, jsonb)', 'EXECUTE')"), 't',
		"$name: with what they may");
	is(value($copy, "SELECT has_function_privilege('alice', 'etl._repair()', 'EXECUTE') OR has_function_privilege('alice', 'etl.register_schema(text, jsonb)', 'EXECUTE')"), 'f', "$name: and others not");
	is(value($copy, 'SELECT count(*) FROM etl.pipelines', user => 'alice'), 1, "$name: an owner has its own");
	is(value($copy, 'SELECT etl.resume()', user => 'postgres') >= 0, 1, "$name: it is resumed");
	is(value($copy, "SELECT state FROM etl_run(date '2026-11-18', 'pages')", user => 'alice'), 'success', "$name: and runs it");
	return;
}

# One database in a cluster that knows nobody yet: the extension brings its roles.
my $fresh = make_node('fresh', preload => 1, extension => 0);
run_sql($fresh, 'CREATE ROLE alice LOGIN; CREATE ROLE ada LOGIN');
is(client('pg_restore', '-h', $fresh->host, '-p', $fresh->port, '-d', 'postgres', "$tmp/one.dump"), '', 'one database is restored into a fresh cluster');
check_copy($fresh, 'one database');
$fresh->stop;

# The whole cluster: the roles come with their members, and are known for what they are.
my $whole = PostgreSQL::Test::Cluster->new('whole');
$whole->init(extra => [ '-U', 'postgres' ]);
$whole->append_conf('postgresql.conf', "shared_preload_libraries = 'etl'\netl.allowed_hosts = '127.0.0.0/8'\ntimezone = 'UTC'\nmax_worker_processes = 16\n");
$whole->start;
# psql stops at nothing: the superuser is there already
IPC::Run::run([ 'psql', '-XAtq', '-h', $whole->host, '-p', $whole->port, '-f', "$tmp/all.sql", 'postgres' ], '>', \my $out, '2>', \my $err);
$err =~ s/^.*(?:role "\w+" already exists|Consider)\S*.*\n//mg;
is($err, '', 'a cluster is restored without a warning');
check_copy($whole, 'a cluster');
is(value($whole, 'SELECT count(*) FROM etl.pipelines', user => 'olga'), 2, 'a cluster: an operator sees all');
$whole->stop;

# ------------------------------------------------------------------- the extension goes

run_sql($node, 'DROP EXTENSION etl CASCADE', db => $_) foreach qw(second third);
is(run_sql($node, 'DROP ROLE etl_reader', may_fail => 1)->{state}, '2BP01', 'a role stays while a database has the extension');
run_sql($node, 'DROP EXTENSION etl CASCADE');
is(roles($node), 'etl_admin etl_operator etl_reader', 'DROP EXTENSION leaves the roles');
$created = run_sql($node, 'CREATE EXTENSION etl');
is($created->{err}, '', 'CREATE EXTENSION knows them again');
is(value($node, 'SELECT count(*) FROM etl.pipelines', user => 'olga'), 0, 'and their members');
run_sql($node, 'DROP EXTENSION etl; DROP ROLE etl_admin, etl_operator, etl_reader');
is(roles($node), '', 'after the last one they can be dropped');
run_sql($node, 'CREATE ROLE etl_admin LOGIN SUPERUSER');
$created = run_sql($node, 'CREATE EXTENSION etl');
like($created->{err}, qr/WARNING.*role "etl_admin" was there before etl.*HINT/s, 'a role of another origin is pointed out');

$node->stop;
done_testing();
