# Shared by the TAP tests: a scripted API, a cluster, sessions that go on while the test
# does something else, and waiting that is bounded.
#
#   use EtlTest;
#   my $api  = EtlTest::Api->start;
#   my $node = make_node('main');
#   my $caller = session($node);
#   $caller->send("SELECT * FROM etl_run(date '2026-11-19', 'pages')");
#   wait_until('a run is active', 10, sub { active_runs($node) > 0 });
#   my $result = $caller->wait(2);     # undef: still waiting
#
# Works with PostgreSQL 15, 16 and 17.
package EtlTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(make_node session run_sql value poll wait_until within declare_pages active_runs
  activity_pids busy_worker stop_run is_failure kill_postmaster now);

# How often a condition is looked at, seconds.
my $POLL = 0.02;

sub now { return time; }

# Looks until a condition holds; what it returned, or undef after the bound.
sub poll
{
	my ($seconds, $condition) = @_;
	my $end = time + $seconds;

	while (1)
	{
		my $result = $condition->();
		return $result if $result;
		return undef if time > $end;
		sleep $POLL;
	}
}

# For steps that lead up to what is tested: ends the test when the condition never holds.
sub wait_until
{
	my ($what, $seconds, $condition) = @_;

	return poll($seconds, $condition) // BAIL_OUT("waited $seconds s in vain: $what");
}

# A test: the condition holds within so many seconds.
sub within
{
	my ($seconds, $name, $condition) = @_;
	my $began = time;
	my $result = poll($seconds, $condition);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(defined $result, $name)
	  or diag(sprintf('not within %s s', $seconds));
	note(sprintf('%s: %.2f s', $name, time - $began)) if defined $result;
	return $result;
}

# A running cluster.  Options: preload (loads the library at server start), conf (more
# lines of configuration), extension (0: do not create it), allowed_hosts (default
# loopback, where the scripted API is), schedules (1: let them fire).
#
# What PostgreSQL's own tests set otherwise: a crash restarts the server, and statements
# are not logged, so that a test for secrets looks at what etl itself writes.
sub make_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	my $allowed_hosts = $options{allowed_hosts} // '127.0.0.0/8, ::1';
	$node->append_conf('postgresql.conf', <<CONF);
fsync = off
etl.allowed_hosts = '$allowed_hosts'
restart_after_crash = on
log_statement = none
max_worker_processes = 16
max_connections = 50
timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u\@%d %b '
CONF
	$node->append_conf('postgresql.conf', 'etl.schedules = off') unless $options{schedules};
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'etl'") if $options{preload};
	$node->append_conf('postgresql.conf', $options{conf}) if defined $options{conf};
	$node->start;
	run_sql($node, 'CREATE EXTENSION etl') unless defined $options{extension} && !$options{extension};
	return $node;
}

# kill -9 of the postmaster.  Its children take a moment to notice, and the next
# postmaster refuses to start while they hold the shared memory: waits for them.
sub kill_postmaster
{
	my ($node) = @_;
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my @children = children_of($postmaster);

	$node->kill9;
	wait_until('the children of the postmaster end', 30,
		sub { return !grep { kill 0, $_ } $postmaster, @children });
	return;
}

# Pids of a process' children, from /proc.
sub children_of
{
	my ($parent) = @_;
	my @children;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open(my $in, '<', $file) or next;    # it has ended meanwhile
		my $line = <$in> // next;
		push @children, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) / && $2 == $parent;
	}
	return @children;
}

# Opens a session; options: db, user, name (the application_name).
sub session
{
	my ($node, %options) = @_;

	return EtlTest::Session->new($node, %options);
}

# Statements in a session of their own, one after another; ends the test when they fail,
# unless may_fail is set, or when they take longer than "seconds" (default 60).
# Returns the result as EtlTest::Session::wait does.
sub run_sql
{
	my ($node, $sql, %options) = @_;
	my $session = EtlTest::Session->new($node, name => 'run_sql', %options);

	$session->send($sql);
	my $result = $session->wait($options{seconds} // 60);
	BAIL_OUT("still running after " . ($options{seconds} // 60) . " s: $sql") unless $result;
	$session->close;
	BAIL_OUT("failed: $sql\n$result->{err}") if $result->{state} ne '00000' && !$options{may_fail};
	return $result;
}

# The output of a query: of one row and column, its value.
sub value
{
	my ($node, $sql, %options) = @_;

	return run_sql($node, $sql, %options)->{out};
}

# A test: the statement failed with one of these SQLSTATEs, and said what to do.
sub is_failure
{
	my ($result, $states, $name) = @_;
	my @states = ref $states ? @$states : ($states);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	if (!$result)
	{
		fail("$name: it hangs");
		return 0;
	}
	my $good = grep { $result->{state} eq $_ } @states;
	ok($good, "$name: SQLSTATE " . join(' or ', @states))
	  or diag("got $result->{state}\n$result->{err}$result->{out}");
	like($result->{err}, qr/HINT:/, "$name: with a hint");
	return $good;
}

sub active_runs
{
	my ($node, %options) = @_;

	return value($node, "SELECT count(*) FROM etl.runs WHERE state IN ('queued', 'running')", %options);
}

# The pids of sessions by backend_type, such as 'etl worker'.
sub activity_pids
{
	my ($node, $type, %options) = @_;
	my $database = $options{db} // 'postgres';

	return split /\n/,
	  value($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND datname = '$database'");
}

# The worker that works on a run; others may linger, waiting for work.
sub busy_worker
{
	my ($node, $run, %options) = @_;

	return value($node, "SELECT worker_pid FROM etl.progress WHERE run_id = $run AND worker_pid IS NOT NULL", %options);
}

# Ways to stop a run.  Who is to be hit may have ended a moment before.
my @STOPS = (
	sub { my ($node) = @_; run_sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'", may_fail => 1) },
	sub { my ($node) = @_; kill 'KILL', grep { /^\d+$/ } split /\n/, run_sql($node, "SELECT worker_pid FROM etl.progress WHERE worker_pid IS NOT NULL LIMIT 1", may_fail => 1)->{out} },
	sub { my ($node) = @_; run_sql($node, "SELECT etl.cancel(run_id) FROM etl.runs WHERE state IN ('queued', 'running')", may_fail => 1) },
	sub { my ($node, $caller) = @_; $caller->kill_client },
	sub { my ($node) = @_; run_sql($node, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'etl worker'", may_fail => 1) },
);

# Calls etl_run and stops what it started after so many seconds, in the n-th of the ways
# there are, some of which take the server down.  Returns whether the call came to its end
# all the same.
sub stop_run
{
	my ($node, $call, $n, $seconds) = @_;
	my $caller = session($node, name => 'caller');

	$caller->send($call);
	sleep $seconds;
	$STOPS[ $n % @STOPS ]->($node, $caller);
	my $result = $n % @STOPS == 3 ? undef : $caller->wait(30);
	wait_until('the server is up and nothing of the run is left', 60, sub {
		my $active = run_sql($node, "SELECT count(*) FROM etl.runs WHERE state IN ('queued', 'running')", may_fail => 1);
		# left by a crash: the next call repairs it
		return $active->{state} eq '00000' && ($active->{out} eq '0' || $n % @STOPS == 1);
	});
	return defined $result && $result->{state} eq '00000';
}

# SQL that declares a pipeline over the API's generic paged route.  Options: api, name
# (default pages), pages, per_page, server_options.  Content differs by interval: the day
# is the name of the route, and every record says in its value which day it is of.
sub declare_pages
{
	my (%options) = @_;
	my $name = $options{name} // 'pages';
	my $pages = $options{pages} // 50;
	my $per_page = $options{per_page} // 20;
	my $server_options = $options{server_options} // '';
	my $url = $options{api}->url;

	return <<SQL;
CREATE SCHEMA IF NOT EXISTS ${name}_stg;
CREATE SERVER $name FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url' $server_options);
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', '${name}_raw.items', server => '$name', path => '/pages/$name-{ds}',
	query => '{"pages": $pages, "per_page": $per_page}', records => '\$.data[*]',
	pagination => '{"type": "link_header"}', key => '{\$.value}');
CREATE VIEW ${name}_stg.txf_items AS
	SELECT etl.run_date() AS day, (payload ->> 'id')::integer AS item_id, payload ->> 'value' AS value,
		   (payload ->> 'updated_at')::timestamptz AS updated_at
	FROM ${name}_raw.vr_items
	WHERE data_interval_start >= etl.data_interval_start() AND data_interval_end <= etl.data_interval_end();
SELECT etl.add_load('$name', '${name}_stg.items', mode => 'incremental', key => '{day,item_id}');
SQL
}

# ------------------------------------------------------------------- a psql that goes on

# One psql process.  Its output goes to files, so that it never waits for the test, and
# the test learns what there is so far without waiting for it.
package EtlTest::Session;

use Fcntl qw(:DEFAULT);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

my $count = 0;

sub new
{
	my ($class, $node, %options) = @_;
	my $number = ++$count;
	my $self = bless {
		node => $node,
		marks => 0,
		out_file => "$PostgreSQL::Test::Utils::tmp_check/session_$$.$number.out",
		err_file => "$PostgreSQL::Test::Utils::tmp_check/session_$$.$number.err",
	}, $class;
	my $name = $options{name} // "session $number";
	my $connection = $node->connstr($options{db} // 'postgres') . " application_name='$name'";
	$connection .= " user='$options{user}'" if defined $options{user};
	$connection .= " options='$options{options}'" if defined $options{options};

	pipe(my $from_test, my $to_psql) or die "pipe: $!";
	# else a later session would hold this one's standard input open
	fcntl($to_psql, F_SETFD, FD_CLOEXEC);
	$self->{psql_pid} = fork // die "fork: $!";
	if ($self->{psql_pid} == 0)
	{
		open(STDIN, '<&', $from_test) or POSIX::_exit(126);
		open(STDOUT, '>', $self->{out_file}) or POSIX::_exit(126);
		open(STDERR, '>', $self->{err_file}) or POSIX::_exit(126);
		close $from_test;
		{ exec('psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $connection); }
		POSIX::_exit(127);
	}
	close $from_test;
	$to_psql->autoflush(1);
	$self->{stdin} = $to_psql;
	return $self;
}

sub _slurp
{
	my ($file) = @_;

	open(my $in, '<', $file) or return '';
	local $/;
	return <$in> // '';
}

# The pid of the server process.
sub backend_pid
{
	my ($self) = @_;

	return $self->{backend_pid} //= $self->query('SELECT pg_backend_pid()')->{out};
}

# Sends statements and returns at once.  Ends the line itself.
sub send
{
	my ($self, $sql) = @_;
	my $mark = ++$self->{marks};

	$self->{from_out} = length _slurp($self->{out_file});
	$self->{from_err} = length _slurp($self->{err_file});
	local $SIG{PIPE} = 'IGNORE';
	print {$self->{stdin}} "$sql\n;\n\\echo etl_mark_$mark\n\\warn etl_mark_$mark\n";
	return;
}

# What came since the last send.
sub so_far
{
	my ($self) = @_;
	my $out = substr(_slurp($self->{out_file}), $self->{from_out});
	my $err = substr(_slurp($self->{err_file}), $self->{from_err});

	return ($out, $err);
}

sub _exited
{
	my ($self) = @_;

	$self->{exited} ||= waitpid($self->{psql_pid}, WNOHANG) != 0;
	return $self->{exited};
}

# Waits until what was sent has ended; undef after the bound.  The result: out, err,
# state (the SQLSTATE of the first error; 08006 when the connection is gone; 00000).
sub wait
{
	my ($self, $seconds) = @_;
	my $mark = "etl_mark_$self->{marks}";
	my $end = time + $seconds;

	while (1)
	{
		my $gone = $self->_exited;
		my ($out, $err) = $self->so_far;
		if ($gone || ($out =~ /^$mark$/m && $err =~ /^$mark$/m))
		{
			s/^$mark\n//m for $out, $err;
			$out =~ s/\n\z//;
			my $state =
				$err =~ /^(?:psql:[^\n]*?)?(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5}):/m ? $1
			  : $gone ? '08006'
			  : $err =~ /server closed the connection|connection to server was lost/ ? '08006'
			  : '00000';
			return { out => $out, err => $err, state => $state, gone => $gone };
		}
		return undef if time > $end;
		sleep 0.01;
	}
}

# Sends and waits; ends the test when that takes long.
sub query
{
	my ($self, $sql, $seconds) = @_;

	$self->send($sql);
	return $self->wait($seconds // 60) // Test::More::BAIL_OUT("still running: $sql");
}

# The client vanishes without a word to the server.
sub kill_client
{
	my ($self) = @_;

	kill 'KILL', $self->{psql_pid};
	waitpid $self->{psql_pid}, 0 unless $self->_exited;
	$self->{exited} = 1;
	return;
}

sub close
{
	my ($self) = @_;

	return if $self->{closed}++;
	local $SIG{PIPE} = 'IGNORE';
	close $self->{stdin};
	my $end = time + 5;
	while (!$self->_exited)
	{
		$self->kill_client if time > $end;
		sleep 0.005;
	}
	unlink $self->{out_file}, $self->{err_file};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);

	$self->kill_client unless $self->{exited};
	$self->close;
	return;
}

# --------------------------------------------------------------------- the scripted API

package EtlTest::Api;

use HTTP::Tiny;
use JSON::PP;
use Time::HiRes qw(sleep time);

my @started;

# Starts a server of test/api on a free port; further arguments are its options.
sub start
{
	my ($class, @arguments) = @_;
	my $script = $ENV{ETL_TEST_API_SERVER}
	  // Test::More::BAIL_OUT('ETL_TEST_API_SERVER does not name test/api/server.py');
	my $base = "$PostgreSQL::Test::Utils::tmp_check/api_$$." . @started;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$base.out");
		open(STDERR, '>&', \*STDOUT);
		$ENV{PYTHONDONTWRITEBYTECODE} = 1;
		{
			exec('python3', $script, '--port', '0', '--port-file', "$base.port", '--log', "$base.log",
				@arguments);
		}
		POSIX::_exit(127);
	}
	EtlTest::wait_until('the API is up', 30, sub { return -s "$base.port" });
	my $port = EtlTest::Session::_slurp("$base.port") + 0;
	my $self = bless {
		pid => $pid,
		port => $port,
		http => HTTP::Tiny->new(timeout => 10, agent => 'etl-test'),
	}, $class;
	push @started, $self;
	return $self;
}

sub url { my ($self) = @_; return "http://127.0.0.1:$self->{port}"; }

# Any control endpoint; body is a Perl structure.  Returns the answer, decoded.
sub control
{
	my ($self, $method, $endpoint, $body) = @_;
	my $answer = $self->{http}->request($method, $self->url . "/control/$endpoint",
		defined $body ? { content => JSON::PP->new->canonical->encode($body) } : {});

	Test::More::BAIL_OUT("$method /control/$endpoint: $answer->{status} $answer->{content}")
	  unless $answer->{success};
	return length $answer->{content} && $answer->{content} =~ /^\s*[\[{]/
	  ? JSON::PP->new->utf8->decode($answer->{content}) : undef;
}

# Rules, scripts, settings and log as at the start.
sub reset { my ($self) = @_; $self->control('POST', 'reset', {}); return; }

# Breaks answers: match, fault and the fault's parameters, see test/api/README.md.
sub fault { my ($self, %rule) = @_; return $self->control('POST', 'faults', \%rule); }

sub heal { my ($self) = @_; $self->control('DELETE', 'faults'); return; }

sub latency { my ($self, $ms) = @_; $self->control('POST', 'settings', { latency_ms => $ms }); return; }

# The requests so far, a hash each; path may end in * to be a prefix.
sub requests
{
	my ($self, $path) = @_;
	my $log = $self->control('GET', 'log' . (defined $path ? "?path=$path" : ''));

	return ref $log eq 'ARRAY' ? @$log : @{ $log->{requests} // $log->{log} // $log->{entries} };
}

# What arrived at the second port, a hash each.
sub other_host { my ($self) = @_; return @{ $self->control('GET', 'other_host')->{entries} }; }

# Requests that have arrived and are not answered.
sub in_flight
{
	my ($self, $path) = @_;

	return grep { ($_->{outcome} // '') eq 'in flight' } $self->requests($path);
}

sub stop
{
	my ($self) = @_;

	return unless $self->{pid};
	local $?;
	kill 'TERM', $self->{pid};
	my $end = time + 5;
	while (waitpid($self->{pid}, POSIX::WNOHANG()) == 0)
	{
		kill 'KILL', $self->{pid} if time > $end;
		sleep 0.02;
	}
	$self->{pid} = 0;
	return;
}

END { $_->stop for @started; }

1;
