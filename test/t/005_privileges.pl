# Whom a pipeline works for: everything it does, it does with the rights of its owner,
# and what it knows, only its owner learns.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $SECRET_INLINE = 'inline-s3cret-0123456789';
my $SECRET_FILE = 'filed-s3cret-0123456789';
my $SECRET_ENV = 'environment-s3cret-0123456789';
my $day = '2026-11-19';

$ENV{ETL_TEST_TOKEN} = $SECRET_ENV;
my $api = EtlTest::Api->start;
my $url = $api->url;
my $node = make_node('main', preload => 1, conf => <<CONF);
log_min_messages = debug1
log_min_error_statement = panic
log_statement = none
CONF

# In the way of docs/reference: a role that may declare sources and own pipelines.
run_sql($node, <<'SQL');
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO alice, bob;
GRANT CREATE ON DATABASE postgres TO alice, bob;
CREATE TABLE public.of_the_superuser (id integer);
SQL

# Statements as somebody; returns the result, whatever it is.
sub as
{
	my ($user, $sql, %options) = @_;

	return run_sql($node, $sql, user => $user, may_fail => 1, %options);
}

sub works
{
	my ($user, $sql, $name, $expected) = @_;
	my $result = as($user, $sql);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($result->{state}, '00000', $name) || diag($result->{err}) unless defined $expected;
	is($result->{out}, $expected, $name) or diag($result->{err});
	return;
}

# A test: it is refused, with one of these states and without a side effect of its own.
sub is_refused
{
	my ($user, $sql, $states, $name) = @_;
	my $result = as($user, $sql);
	my @states = ref $states ? @$states : ($states);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(scalar(grep { $result->{state} eq $_ } @states), "$name is refused")
	  or diag("got $result->{state}\n$result->{err}$result->{out}");
	return $result;
}

# Everything any test has been told; searched for secrets at the end.
my @told;
sub told
{
	my ($result) = @_;

	push @told, $result->{out}, $result->{err};
	return $result;
}

# ------------------------------------------------------------- an owner without rights

works('alice', declare_pages(api => $api, pages => 3, per_page => 5), 'an ordinary role can declare a pipeline');
works('alice', "SELECT state, fetched, loaded, inserted FROM etl_run(date '$day', 'pages')",
	'and run it', 'success|15|15|15');
works('alice', "CALL etl.run('pages', '2026-11-18', '2026-11-19')", 'by CALL as well');
works('postgres', "SELECT state FROM etl_run(date '2026-11-17', 'pages')", 'a superuser can run it', 'success');
is(value($node, "SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE schemaname IN ('pages_raw', 'pages_stg')"),
	'alice', 'whoever runs it, its tables belong to its owner');
works('alice', "SELECT count(*) > 0 FROM etl.$_", "its owner can read etl.$_", 't')
  foreach qw(pipelines tasks runs task_runs task_attempts loads slices log);

# --------------------------------------------------------------------- files and secrets

my $secrets = $node->data_dir . '/etl_secrets';
mkdir $secrets, 0700;
append_to_file("$secrets/shop", "$SECRET_FILE\n");
append_to_file($node->data_dir . '/outside', "outside-s3cret-0123456789\n");
symlink '../outside', "$secrets/linked";
chmod 0600, "$secrets/shop", $node->data_dir . '/outside';

# A user mapping of alice's for her server, replaced.
sub map_user
{
	my ($options) = @_;

	return as('alice', "DROP USER MAPPING IF EXISTS FOR alice SERVER pages;
		CREATE USER MAPPING FOR alice SERVER pages OPTIONS ($options)");
}

sub run_of_alice { return told(as('alice', "SELECT state FROM etl_run(date '$day', 'pages')")); }

# Which credentials reached the source last, as the hash that the API keeps.
sub credentials_seen
{
	my ($entry) = (reverse $api->requests('/pages/*'))[0];

	return $entry->{headers}{authorization};
}

sub hash_of
{
	my ($secret) = @_;
	require Digest::SHA;

	return 'Bearer sha256:' . substr(Digest::SHA::sha256_hex($secret), 0, 16);
}

foreach my $option ("token_file 'shop'", "token_env 'ETL_TEST_TOKEN'")
{
	my ($name) = $option =~ /(\w+)/;
	my $mapped = map_user("auth 'bearer', $option");
	my $result = $mapped->{state} eq '00000' ? run_of_alice() : $mapped;

	is_failure($result, '42501', "$name without pg_read_server_files");
	like($result->{err}, qr/pg_read_server_files/, "$name: the hint names the role that is missing");
	unlike($result->{err}, qr/s3cret/, "$name: nothing of the secret");
}
run_sql($node, 'GRANT pg_read_server_files TO alice');
foreach my $case ([ "token_file 'shop'", $SECRET_FILE ], [ "token_env 'ETL_TEST_TOKEN'", $SECRET_ENV ],
	[ "token '$SECRET_INLINE'", $SECRET_INLINE ])
{
	my ($option, $secret) = @$case;
	my ($name) = $option =~ /(\w+)/;

	is(map_user("auth 'bearer', $option")->{state}, '00000', "$name with pg_read_server_files can be declared");
	my $result = run_of_alice();
	is($result->{out}, 'success', "$name: a run") or diag($result->{err});
	is(credentials_seen(), hash_of($secret), "$name: the source gets it");
}

# Rotating a key is overwriting a file.
map_user("auth 'bearer', token_file 'shop'");
run_of_alice();
unlink "$secrets/shop";
append_to_file("$secrets/shop", "rotated-s3cret-0123456789\n");
run_of_alice();
is(credentials_seen(), hash_of('rotated-s3cret-0123456789'), 'an overwritten secret file is read by the next run');

# Where she must not get, with the privilege or without.
foreach my $file ('../outside', '/etc/passwd', 'shop/../../outside', '.', '..', '', 'linked', '../etl_secrets/shop', "..\\outside")
{
	my $mapped = map_user("auth 'bearer', token_file '$file'");
	my $result = $mapped->{state} eq '00000' ? run_of_alice() : told($mapped);

	isnt($result->{state}, '00000', "token_file '$file' is refused");
	unlike($result->{err}, qr/s3cret|root:/, "token_file '$file': nothing of a file is shown");
}
foreach my $base ('file:///etc/passwd', 'FILE:///etc/passwd', 'ftp://127.0.0.1/', 'gopher://127.0.0.1/', 'http://user:inline-s3cret@127.0.0.1/', '/etc/passwd', '')
{
	my $result = told(as('alice', "CREATE SERVER bad FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$base')"));

	isnt($result->{state}, '00000', "base_url '$base' is refused");
	unlike($result->{err}, qr/s3cret/, "base_url '$base': and not shown");
}
run_sql($node, 'REVOKE pg_read_server_files FROM alice');
map_user("auth 'bearer', token '$SECRET_INLINE'");
foreach my $fault ('redirect_to_file', 'link_to_file')
{
	$api->fault(match => '/pages/*', page => 2, fault => $fault);
	as('alice', 'CREATE SCHEMA IF NOT EXISTS mine');
	my $result = run_of_alice();
	isnt($result->{state}, '00000', "a source that answers with $fault does not get a file read") or diag($result->{out});
	unlike($result->{err}, qr/root:/, "$fault: nothing of a file is shown");
	$api->heal;
}
{
	run_sql($node, 'REVOKE pg_read_server_files FROM alice');
	my $result = told(as('alice', "ALTER SERVER pages OPTIONS (ADD ca_file '/etc/passwd')"));
	$result = run_of_alice() if $result->{state} eq '00000';
	is($result->{state}, '42501', 'ca_file without pg_read_server_files is refused') or diag($result->{err});
	as('alice', 'ALTER SERVER pages OPTIONS (DROP ca_file)');
}

# Credentials are for one host.
$api->reset;
$api->fault(match => '/pages/*', page => 2, fault => 'redirect_other_host');
as('alice', 'SELECT etl.create_pipeline(\'pages\', replace => true);' . declare_tasks_again());
my $redirected = run_of_alice();
$api->heal;
cmp_ok(scalar $api->other_host, '>=', 1, 'a redirect to another host was followed') or diag($redirected->{err});
is(scalar(grep { $_->{headers}{authorization} } $api->other_host), 0, 'credentials are not sent to another host');
$api->fault(match => '/pages/*', page => 2, fault => 'link_other_host');
my $linked = run_of_alice();
isnt($linked->{state}, '00000', 'a next link to another host is not followed') or diag($linked->{out});
is(scalar(grep { $_->{headers}{authorization} } $api->other_host), 0, 'nor are credentials sent there');
$api->heal;

sub declare_tasks_again
{
	return <<'SQL';
SELECT etl.add_extract('pages', 'pages_raw.items', server => 'pages', path => '/pages/pages-{ds}',
	query => '{"pages": 3, "per_page": 5}', records => '$.data[*]', pagination => '{"type": "link_header"}', key => '{$.value}');
SELECT etl.add_load('pages', 'pages_stg.items', mode => 'incremental', key => '{day,item_id}');
SQL
}

# --------------------------------------------- a view whose function wants to be more

run_sql($node, 'CREATE TABLE public.of_bob (id integer); ALTER TABLE public.of_bob OWNER TO bob');
works('alice', <<'SQL', 'a view may call any function of its owner');
SELECT etl.create_pipeline('evil');
CREATE SCHEMA evil;
CREATE TABLE evil.tried (what text, outcome text, who text);
-- Tells whether a statement works, and takes back what it did.
CREATE FUNCTION evil.try(what text, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	result text;
	who text;
BEGIN
	BEGIN
		EXECUTE statement;
		who := session_user || ' ' || current_user || ' ' || current_setting('is_superuser');
		RAISE EXCEPTION 'done' USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		result := CASE SQLSTATE WHEN 'ZZ000' THEN 'done' ELSE SQLSTATE END;
	END;
	INSERT INTO evil.tried VALUES (what, result, coalesce(who, session_user || ' ' || current_user || ' ' || current_setting('is_superuser')));
END $$;
CREATE FUNCTION evil.grab() RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	o record;
	mine record;
BEGIN
	PERFORM evil.try('nothing', 'SELECT 1');
	PERFORM evil.try('reset role', 'RESET ROLE');
	PERFORM evil.try('reset session authorization', 'RESET SESSION AUTHORIZATION');
	PERFORM evil.try('set session authorization', 'SET SESSION AUTHORIZATION postgres');
	PERFORM evil.try('set role', 'SET ROLE postgres');
	PERFORM evil.try('superuser', 'ALTER ROLE alice SUPERUSER');
	PERFORM evil.try('table of the superuser', 'INSERT INTO public.of_the_superuser VALUES (1)');
	PERFORM evil.try('table of bob', 'INSERT INTO public.of_bob VALUES (1)');
	PERFORM evil.try('catalog of etl', 'UPDATE etl.pipeline SET owner = ''alice''');
	PERFORM evil.try('runs of etl', 'DELETE FROM etl.run');
	PERFORM evil.try('file', 'SELECT pg_read_file(''PG_VERSION'')');
	PERFORM evil.try('program', 'COPY (SELECT 1) TO PROGRAM ''true''');
	PERFORM evil.try('coordinate', 'SELECT etl._coordinate()');
	PERFORM evil.try('wake', 'SELECT etl._wake(1)');
	PERFORM evil.try('setting', 'SET etl.clock = ''2030-01-01''');
	-- her own attempt is current now: it must not open other people's loads
	FOR mine IN SELECT t.task_run_id, t.attempt FROM etl.task_runs t WHERE t.kind = 'publish' AND t.state = 'running' AND t.pipeline = 'evil' LOOP
		FOR o IN SELECT load_id, p.proname || ' of load ' || load_id AS what, format('SELECT etl.%I(%s, %s, %s%s)', p.proname, mine.task_run_id, mine.attempt, load_id,
				(SELECT string_agg(format(', %L::%s', CASE WHEN a.type::text ~ '\[\]$' THEN '{}' WHEN a.type = 'jsonb'::regtype THEN '[]' WHEN a.type = 'boolean'::regtype THEN 'false'
					WHEN a.type = 'interval'::regtype THEN '1 day' ELSE '7' END, a.type), '' ORDER BY a.n)
				 FROM unnest(p.proargtypes::regtype[], p.proargnames[1:p.pronargs]) WITH ORDINALITY a(type, name, n) WHERE a.n > 3)) AS statement
			FROM generate_series(1, 60) load_id, pg_proc p
			WHERE p.pronamespace = 'etl'::regnamespace AND p.pronargs >= 3 AND p.proargnames[1:3] = '{task_run_id,attempt,load_id}' AND has_function_privilege(p.oid, 'EXECUTE')
		LOOP
			PERFORM evil.try(o.what, o.statement);
		END LOOP;
	END LOOP;
	RETURN 1;
END $$;
CREATE VIEW evil.txf_loot AS SELECT evil.grab() AS id, session_user::text AS session, current_user::text AS now, current_setting('is_superuser') AS super;
SELECT etl.add_load('evil', 'evil.loot', mode => 'full');
SQL

# Bob's load that is under way while alice's function looks for it.
$api->reset;
works('bob', declare_pages(api => $api, name => 'bobs', pages => 3, per_page => 5), 'another owner declares a pipeline');
$api->fault(match => '/pages/bobs-*', page => 2, fault => 'hang');
my $bobs_caller = session($node, user => 'bob');
$bobs_caller->send("SELECT state FROM etl_run(date '$day', 'bobs')");
wait_until("bob's run is under way", 20, sub { return $api->in_flight('/pages/bobs-*') > 0 });
my ($bobs_load, $bobs_run, $bobs_task_run, $bobs_attempt) = split /\|/,
  value($node, "SELECT load_id, run_id, (SELECT task_run_id FROM etl.task_run t WHERE t.run_id = p.run_id AND t.kind = 'extract'), attempt
	FROM etl.progress p WHERE pipeline = 'bobs' AND load_id IS NOT NULL");
cmp_ok($bobs_load, '<=', 60, 'its load is one that alice tries');

my $before = load_of_bob();
sub load_of_bob
{
	return value($node, "SELECT l::text, (SELECT count(*) FROM etl.slice WHERE load_id = $bobs_load),
		(SELECT count(*) FROM etl.quarantined_record WHERE load_id = $bobs_load) FROM etl.load l WHERE load_id = $bobs_load");
}
foreach my $caller ('alice', 'postgres')
{
	run_sql($node, 'TRUNCATE evil.tried');
	my $result = as($caller, "SELECT state FROM etl_run(date '$day', 'evil')");
	is($result->{out}, 'success', "run by $caller, the view is evaluated") or diag($result->{err});
	is(value($node, 'SELECT session, now, super FROM evil.loot'), 'alice|alice|off',
		"run by $caller: session_user and current_user are the owner");
	is(value($node, "SELECT string_agg(DISTINCT who, ', ') FROM evil.tried"), 'alice alice off',
		"run by $caller: nor does any trick change that");
	is(value($node, "SELECT string_agg(what, ', ' ORDER BY what) FROM evil.tried WHERE outcome = 'done'
			AND what NOT IN ('nothing', 'reset role', 'reset session authorization')
			AND what NOT LIKE '% of load %' AND what NOT LIKE '% load %'"),
		'', "run by $caller: nothing is to be had that is not the owner's");
	is(value($node, "SELECT string_agg(what, ', ' ORDER BY what) FROM evil.tried WHERE outcome = 'done' AND what LIKE '% load $bobs_load'"),
		'', "run by $caller: the bookkeeping of another pipeline is out of reach");
	is(load_of_bob(), $before, "run by $caller: and unchanged");
	is(value($node, "SELECT string_agg(what || ' ' || outcome, ', ') FROM evil.tried WHERE what LIKE '% load $bobs_load' AND outcome NOT IN ('42501', '55000', 'P0002')"),
		'', "run by $caller: because it is refused");
	cmp_ok(value($node, "SELECT count(*) FROM evil.tried WHERE what LIKE '% load $bobs_load'"), '>', 8, "run by $caller: by all functions that take a load");
}
is(value($node, 'SELECT rolsuper FROM pg_roles WHERE rolname = \'alice\''), 'f', 'alice is no superuser');
is(value($node, 'SELECT (SELECT count(*) FROM public.of_the_superuser) + (SELECT count(*) FROM public.of_bob)'), 0,
	"nothing was written into other people's tables");

# ------------------------------------------------- what is somebody else's, from outside

is(as('alice', "SELECT count(*) FROM etl.$_ WHERE pipeline = 'bobs'")->{out}, 0, "others do not see it in etl.$_")
  foreach qw(pipelines tasks runs task_runs task_attempts progress loads slices quarantine check_results log);
is_refused('alice', "SELECT * FROM etl_run(date '$day', 'bobs')", '42501', "running somebody else's pipeline");
is_refused('alice', "CALL etl.run('bobs', '$day', '2026-11-20')", '42501', "CALL of somebody else's pipeline");
is_refused('alice', "SELECT etl.cancel($bobs_run)", [ '42704', '42501' ], "cancelling somebody else's run");
is_refused('alice', $_->[1], '42501', "$_->[0] somebody else's pipeline")
  foreach (
	[ 'altering', "SELECT etl.alter_pipeline('bobs', retries => 9)" ],
	[ 'replacing', "SELECT etl.create_pipeline('bobs', replace => true)" ],
	[ 'dropping', "SELECT etl.drop_pipeline('bobs')" ],
	[ 'pausing', "SELECT etl.pause('bobs')" ],
	[ 'resuming', "SELECT etl.resume('bobs')" ],
	[ 'printing', "SELECT etl.pipeline_sql('bobs')" ],
	[ 'adding a load to', "SELECT etl.add_load('bobs', 'evil.loot', mode => 'full')" ],
	[ 'adding an extract to', "SELECT etl.add_extract('bobs', 'evil.stolen', server => 'pages')" ],
	[ 'adding a check to', "SELECT etl.add_check('bobs', 'evil.loot', 'row_count', '{\"min\": 1}')" ],
  );
is(as('alice', 'SELECT etl.pause()')->{state}, '00000', 'etl.pause() of all pauses her own');
is(value($node, "SELECT paused FROM etl.pipelines WHERE pipeline = 'bobs'"), 'f', "and not somebody else's");
as('alice', 'SELECT etl.resume()');
is(as('alice', "SELECT DISTINCT pipeline FROM etl_run(date '$day') ORDER BY 1")->{out}, "evil\npages",
	'etl_run of all runs her own only');
is_refused('alice', "SELECT etl.add_extract('pages', 'pages_raw.stolen', server => 'bobs')", '42501', "using somebody else's server");
is_refused('alice', "SELECT etl.add_extract('pages', 'bobs_raw.items', server => 'pages')", '42501', "extracting into somebody else's raw table");
is_refused('alice', "SELECT etl.add_load('pages', 'bobs_stg.items', mode => 'full', source => 'evil.txf_loot')", [ '42501', '42703' ],
	"loading into somebody else's table");
is(as('alice', "SELECT count(*) FROM pg_user_mappings WHERE srvname = 'bobs' AND umoptions IS NOT NULL")->{out}, 0,
	"somebody else's user mapping is not shown");

# Tables of the catalog cannot be read or written directly.
is_refused('alice', "SELECT * FROM etl.$_", '42501', "reading etl.$_")
  foreach qw(pipeline task run task_run task_attempt load slice quarantined_record check_result log_entry cancel_request instance);
is_refused('alice', $_, '42501', $_)
  foreach ("UPDATE etl.pipeline SET owner = 'alice'", 'DELETE FROM etl.run', 'INSERT INTO etl.cancel_request VALUES (1, now(), \'x\')',
	'CREATE TABLE etl.mine (id integer)');
is_refused('alice', "UPDATE etl.$_ SET state = 'success'", [ '42501', '55000' ], "changing etl.$_") foreach qw(runs task_runs);

# Internal functions: by name, and whatever else begins with an underscore and writes.
is_refused('alice', "SELECT $_", '42501', $_)
  foreach (
	"etl._submit(1, 'postgres', 1, '$day', 'bobs', NULL, NULL, NULL)", 'etl._coordinate()', 'etl._coordinator_outlook()',
	"etl._fail_ready_tasks(10, 'x', 'y')", 'etl._notice_lost_attempts()', 'etl._pass_cancellations_on()', 'etl._start_runs()',
	'etl._finish_runs()', "etl._end_run(NULL, 'failed', NULL, NULL, NULL, NULL, NULL)",
	"etl._end_failed_attempt(NULL, '57014', 'x', NULL, NULL)", "etl._record_evidence(NULL, '[]', 'published')", 'etl._wake(1)');

is(value($node, "SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE pronamespace = 'etl'::regnamespace
		AND proname LIKE '%\\_as\\_owner' AND has_function_privilege('alice', oid, 'EXECUTE')"),
	'', 'no function that acts with the rights of the extension is to be had directly');
is(value($node, "SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE pronamespace = 'etl'::regnamespace
		AND prosecdef AND NOT coalesce(proconfig::text, '') LIKE '%search_path=pg_catalog, pg_temp%'"),
	'', 'every SECURITY DEFINER function has a search_path of its own');

# A function of alice's acts as alice, even when a superuser is made to call it; and one
# of bob's that he lets her call acts as bob.
works('alice', <<'SQL', 'a SECURITY DEFINER function of hers');
CREATE FUNCTION evil.as_alice(statement text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS
	$$ DECLARE result text; BEGIN EXECUTE statement INTO result; RETURN result; END $$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
SQL
is_refused('postgres', "SELECT evil.as_alice(\$\$SELECT $_\$\$)", [ '42501', '42704' ], "a superuser led to call $_ by alice's function")
  foreach ("etl.pause('bobs')", "etl.alter_pipeline('bobs', retries => 9)", "etl.cancel($bobs_run)", "etl.drop_pipeline('bobs')",
	"state FROM etl_run(date '$day', 'bobs')");
works('bob', <<'SQL', 'a SECURITY DEFINER function of his');
CREATE FUNCTION bobs_stg.pause() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT etl.pause('bobs') $$;
GRANT USAGE ON SCHEMA bobs_stg TO alice;
SQL
works('alice', 'SELECT bobs_stg.pause()', "what an owner's function does, it does as the owner", '1');
works('bob', "SELECT etl.resume('bobs')", 'who can undo it', '1');

# A worker's bookkeeping: not with another role's attempt, not without a current one.  All
# functions of workers begin with task run and attempt; the further arguments do not matter.
my ($own_task_run) = split /\n/, as('alice', "SELECT task_run_id FROM etl.task_runs WHERE pipeline = 'pages' AND kind = 'extract' ORDER BY 1 DESC LIMIT 1")->{out};
my ($own_load) = split /\n/, as('alice', "SELECT load_id FROM etl.loads WHERE pipeline = 'pages' ORDER BY 1 DESC LIMIT 1")->{out};
my @fenced = split /\n/, value($node, <<'SQL');
SELECT format('etl.%I($1, $2%s)', p.proname, (SELECT string_agg(CASE a.name WHEN 'load_id' THEN ', $3' ELSE format(', NULL::%s', format_type(a.type, NULL)) END, '' ORDER BY a.n)
	FROM unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) WITH ORDINALITY a(type, name, n) WHERE a.n > 2))
FROM pg_proc p WHERE p.pronamespace = 'etl'::regnamespace AND p.pronargs >= 2 AND p.proargnames[1:2] = '{task_run_id,attempt}' AND has_function_privilege('alice', p.oid, 'EXECUTE') ORDER BY 1
SQL
cmp_ok(scalar @fenced, '>', 15, 'there are functions of workers');
foreach my $attempt ([ "somebody else's attempt", $bobs_task_run, $bobs_attempt, $bobs_load ],
	[ 'an attempt that has ended', $own_task_run, 1, $own_load ], [ 'an attempt that never was', 999999, 1, $bobs_load ])
{
	my ($what, @values) = @$attempt;

	foreach my $function (@fenced)
	{
		(my $call = $function) =~ s/\$(\d)/$values[$1 - 1]/g;
		is_refused('alice', "SELECT $call", [ '55000', '42501' ], "$call, $what");
	}
}
is(as('alice', "SELECT count(*) FROM etl._claim($bobs_task_run) WHERE attempt IS NOT NULL")->{out} || 0, 0, "_claim of somebody else's task");
as('alice', "SELECT etl._record_partition($bobs_load, 'x')");
as('alice', "SELECT etl._mark_reclaimed($bobs_load)");
as('alice', "SELECT etl._log('ERROR', 'bobs', $bobs_run, 'x', 'forged')");
as('alice', "SELECT etl._forget_loads('bobs')");
as('alice', "SELECT etl._set_template('bobs', 'github_issues', '{}')");
is(load_of_bob(), $before, "nothing of this changed the other's load");
is(value($node, "SELECT count(*) FROM etl.log WHERE message = 'forged'"), 0, 'nor wrote into its log');
is(as('alice', "SELECT count(pid) FROM etl._activity($bobs_task_run)")->{out} || 0, 0, "somebody else's activity is not shown");
is(as('alice', 'SELECT count(*) FROM etl._next_tasks()')->{out}, 0, 'nor are tasks of others');

# All the same, bob's run was not disturbed.
$api->heal;
is(value($node, "SELECT etl.cancel($bobs_run)"), 'cancelling', 'a superuser can cancel it');
$bobs_caller->wait(5);
works('bob', "SELECT state FROM etl_run(date '$day', 'bobs')", 'the other owner runs his pipeline', 'success');
works('bob', "SELECT count(*) FROM bobs_stg.items", 'and has his rows', '15');

# A member of the owner's role has its rights.
run_sql($node, 'CREATE ROLE carol LOGIN; GRANT bob TO carol');
works('carol', "SELECT state FROM etl_run(date '$day', 'bobs')", "a member of the owner's role can run it", 'success');
works('carol', "SELECT count(*) FROM etl.pipelines", 'and sees it', '1');
is(value($node, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'bobs_stg'"), 'bob', 'which changes no owner');

# --------------------------------------------------------------- secrets that get about

# The source itself gives the token back, in an error.
map_user("auth 'bearer', token '$SECRET_INLINE'");
$api->fault(match => '/pages/*', page => 2, fault => 'status', code => 400, body => "bad token $SECRET_INLINE");
my $echoed = as('alice', "SELECT state FROM etl_run(date '2026-11-16', 'pages')");
is($echoed->{state} eq '00000', '', 'an answer that repeats the token fails the run');
push @told, $echoed->{out}, $echoed->{err};
$api->heal;
$api->control('POST', 'auth', { token => 'another' });
my $unauthorized = as('alice', "SELECT state FROM etl_run(date '2026-11-15', 'pages')");
like($unauthorized->{err}, qr/401/, 'a wrong token: the error names the status');
like($unauthorized->{err}, qr/HINT:.*user mapping/, 'and where to put it right');
push @told, $unauthorized->{err};
$api->control('POST', 'auth', { token => undef });

# A token in the query, as some sources want it.
works('alice', "SELECT etl.create_pipeline('keyed');
	SELECT etl.add_extract('keyed', 'mine.keyed', server => 'pages', path => '/pages/keyed-{ds}', query => '{\"api_key\": \"query-s3cret-0123456789\", \"pages\": 2}',
		records => '\$.data[*]', pagination => '{\"type\": \"link_header\"}')", 'a task with a key in its query')
  if as('alice', 'CREATE SCHEMA IF NOT EXISTS mine')->{state} eq '00000';
$api->fault(match => '/pages/keyed-*', page => 2, fault => 'hang');
my $keyed = session($node, user => 'alice');
$keyed->send("SELECT state FROM etl_run(date '$day', 'keyed')");
wait_until('the keyed source is asked', 20, sub { return $api->in_flight('/pages/keyed-*') > 0 });
my $activity = value($node, 'SELECT string_agg(query, \' \') FROM pg_stat_activity WHERE backend_type LIKE \'etl %\'');
unlike($activity, qr/s3cret/, 'no secret in pg_stat_activity');
my $run = value($node, "SELECT max(run_id) FROM etl.runs WHERE pipeline = 'keyed'");
value($node, "SELECT etl.cancel($run)");
$keyed->wait(5);
$api->heal;
$api->fault(match => '/pages/keyed-*', page => 2, fault => 'status', code => 404);
push @told, as('alice', "SELECT state FROM etl_run(date '$day', 'keyed')")->{err};
$api->heal;

foreach my $view (qw(pipelines runs task_runs task_attempts progress loads slices quarantine check_results log))
{
	# next_cursor is what the source said; a link that carries the key is needed to go on
	my $columns = $view eq 'slices' ? "(to_jsonb(v) - 'next_cursor')" : 'to_jsonb(v)';
	is(value($node, "SELECT count(*) FROM etl.$view v WHERE $columns\::text LIKE '%s3cret%'"), 0, "no secret in etl.$view");
}
is(scalar(grep { /(?:inline|filed|environment|query|rotated)-s3cret-/ } @told), 0, 'no secret in any message')
  or diag(join "\n", grep { /s3cret-/ } @told);
my @lines = grep { /s3cret-/ } split /\n/, slurp_file($node->logfile);
is(scalar @lines, 0, 'no secret in the server log') or diag($lines[0]);
foreach my $result (as('alice', "SELECT etl.pipeline_sql('pages')"),
	as('alice', "SELECT etl.template_sql('github_issues', '{\"repositories\": [\"a/b\"], \"token\": \"template-s3cret-0123456789\"}')"))
{
	unlike($result->{out}, qr/s3cret/, 'SQL that is printed has no secret');
}
is(as('alice', "SELECT etl.install('github_issues', '{\"repositories\": [\"octocat/renames\"], \"base_url\": \"$url\", \"token\": \"template-s3cret-0123456789\"}')")->{state},
	'00000', 'a template with an inline token');
is(value($node, "SELECT count(*) FROM etl.pipelines WHERE to_jsonb(pipelines)::text LIKE '%s3cret%'"), 0, 'does not keep it in its options');

# --------------------------------------------------------- owners that cannot work any more

# Three owners with a pipeline each; then something is wrong with two of them.
sub owner
{
	my ($role) = @_;

	run_sql($node, "CREATE ROLE $role LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO $role; GRANT CREATE ON DATABASE postgres TO $role");
	run_sql($node, declare_pages(api => $api, name => "of_$role", pages => 2, per_page => 3), user => $role);
	return;
}

run_sql($node, 'CREATE ROLE silent NOLOGIN; GRANT silent TO alice');
my $silent = as('alice', "SET ROLE silent; SELECT etl.create_pipeline('silent')");
is_failure($silent, '28000', 'a role without LOGIN declares a pipeline')
  if value($node, 'SHOW server_version_num') < 170000;

owner('dora');
run_sql($node, 'ALTER ROLE dora NOLOGIN');
my $result = as('postgres', "SELECT state FROM etl_run(date '$day', 'of_dora')", seconds => 20);
if (value($node, 'SHOW server_version_num') < 170000)
{
	is_failure($result, '55000', 'the owner has lost LOGIN');
	like($result->{err}, qr/dora/, 'the error names the role');
}
run_sql($node, 'ALTER ROLE dora LOGIN');
works('postgres', "SELECT state FROM etl_run(date '$day', 'of_dora')", 'with LOGIN it runs again', 'success');

owner('erik');
run_sql($node, 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO alice, bob, dora');
$result = as('postgres', "SELECT state FROM etl_run(date '$day', 'of_erik')", seconds => 20);
is_failure($result, '55000', 'the owner has lost CONNECT');
like($result->{err}, qr/erik/, 'the error names the role');

owner('frida') if run_sql($node, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
run_sql($node, 'REASSIGN OWNED BY frida TO postgres; DROP OWNED BY frida; DROP ROLE frida');
$result = as('postgres', "SELECT state FROM etl_run(date '$day', 'of_frida')", seconds => 20);
is_failure($result, '55000', 'the owner was dropped');
like($result->{err}, qr/frida/, 'the error names the role');
like(value($node, "SELECT cannot_run_because FROM etl.pipelines WHERE pipeline = 'of_frida'"), qr/frida/, 'etl.pipelines says so too');

# One broken owner is not everybody's trouble.
run_sql($node, 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
$result = as('postgres', "SELECT * FROM etl_run(date '2026-11-14')", seconds => 60);
isnt($result->{state}, '00000', 'etl_run of all pipelines reports the broken ones');
like($result->{err}, qr/erik.*frida|frida.*erik/s, 'both of them');
is(value($node, "SELECT string_agg(pipeline || ' ' || state, ', ' ORDER BY pipeline) FROM etl.runs
		WHERE run_date = '2026-11-14' AND pipeline IN ('bobs', 'of_dora', 'of_erik', 'of_frida')"),
	'bobs success, of_dora success, of_erik failed, of_frida failed', 'and only their pipelines fail');

# A limit of connections of the role holds for its workers' first steps as well: no hang.
run_sql($node, 'GRANT CONNECT ON DATABASE postgres TO PUBLIC; ALTER ROLE dora CONNECTION LIMIT 0');
$result = as('postgres', "SELECT state FROM etl_run(date '2026-11-13', 'of_dora')", seconds => 20);
ok($result->{state} eq '00000' || $result->{err} =~ /HINT:/, 'an owner at its connection limit: it runs, or says what to do')
  or diag($result->{err});
is(active_runs($node), 0, 'no run is left active');

$node->stop;
done_testing();
