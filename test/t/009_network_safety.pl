# Where a source may be, and what it may lead us to: only public addresses and those that
# etl.allowed_hosts lists, however they are written, named, redirected to or proxied; and no
# credentials for anybody but the server they are meant for.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = "date '2026-11-19'";
my $TOKEN = 'tok-2b7e151628aed2a6-secret';

my $api = EtlTest::Api->start;
my $port = $api->{port};
my $other_port = $api->control('GET', 'info')->{other_port};
my $node;
{
	# what the environment says of proxies is none of a source's business
	local @ENV{qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY)} = ('http://127.0.0.1:9') x 6;
	# the setting is changed for the database: a worker that lingers would not see that
	$node = make_node('main', preload => 1, allowed_hosts => '', conf => "etl.worker_linger = 0");
}

# ------------------------------------------------------------------------- cases in batches

my $batches = 0;

sub declaration
{
	my ($name, $case) = @_;
	my $path = $case->{path} // '/pages/x';
	my $options = $case->{options} // '';

	return <<SQL;
CREATE SERVER $name FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$case->{url}', max_attempts '1', connect_timeout '300 ms', timeout '5 s' $options);
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', 'raw.$name', server => '$name', path => '$path', query => '{"case": "$name"}', records => '\$.data[*]');
SQL
}

# Runs a pipeline a case, under a list; expect is undef for a success, else matches the error.
# The names of the pipelines.
sub check_batch
{
	my ($list, @cases) = @_;
	my @names = map { sprintf 'b%02d_%02d', $batches, $_ } 0 .. $#cases;
	my $begin = "SET client_min_messages = error; ALTER DATABASE postgres SET etl.allowed_hosts = '$list';";

	$batches++;
	run_sql($node, join "\n", $begin, map { declaration($names[$_], $cases[$_]) } 0 .. $#cases);
	run_sql($node, "SELECT run_id FROM etl_run($DAY)", may_fail => 1, seconds => 120);
	my $runs = JSON::PP->new->decode(value($node, <<SQL));
SELECT json_object_agg(pipeline, json_build_object('state', state, 'error', concat_ws(E'\\n', error_code, error_message, error_detail, error_hint)))
FROM etl.runs WHERE pipeline LIKE 'b%'
SQL
	foreach my $i (0 .. $#cases)
	{
		my $run = $runs->{ $names[$i] } // { state => 'none', error => '' };
		my $text = "[$list] " . ($cases[$i]{text} // $cases[$i]{url});

		if (defined $cases[$i]{expect})
		{
			like($run->{error}, $cases[$i]{expect}, "$text: refused, or fails");
		}
		else
		{
			is($run->{state}, 'success', "$text: allowed") or diag($run->{error});
		}
	}
	run_sql($node, 'SELECT etl.pause()');
	return @names;
}

sub at { return { url => "http://$_[0]:$port", expect => $_[1] }; }

# An address refused for what it is.  A host that is written as an address is named only once.
sub refused
{
	my ($host, $what) = @_;
	(my $plain = $host) =~ s/^\[|%25.*|\]$//g;

	return at($host, qr/^HV000\n\QGET http:\/\/$host:$port\/pages\/x\E.* failed after 1 attempt: address\nhost "[^"]+" is (?:at \S+, )?\Q$what\E that is not in etl\.allowed_hosts\n/);
}

# ---------------------------------------------------------------------------- by default

my @LOOPBACK = qw(127.0.0.1 127.0.0.53 localhost 127.1 0x7f.1 0x7f000001 2130706433 0177.0.0.1 [::1]
  [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [2002:7f00:1::1]);
my @PRIVATE = qw(10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 198.18.0.1
  [fc00::1] [fd12:3456::1] [fec0::1] [64:ff9b::10.0.0.1] [64:ff9b:1::1] [2002:c0a8:1::]);
my @RESERVED = qw(0.0.0.0 0 0.1.2.3 [::] 192.0.0.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 [ff02::1] [100::1] [2001::1] [64:ff9b::]);
my @LINK_LOCAL = qw(169.254.1.1 [fe80::1] [fe80::1%25lo] [febf::1] [::ffff:169.254.1.1]);
my @METADATA = qw(169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 [fd00:ec2::254] [fd20:ce::254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] 0xa9fea9fe);

check_batch(
	'',
	(map { refused($_, 'a loopback address') } @LOOPBACK),
	(map { refused($_, 'an address of a private network') } @PRIVATE),
	(map { refused($_, 'a reserved address') } @RESERVED),
	(map { refused($_, 'a link-local address') } @LINK_LOCAL),
	(map { refused($_, q{an address of a cloud's metadata service}) } @METADATA),
	# a name that not every resolver knows
	at('localhost.', qr/failed after 1 attempt: (?:resolve|address)\n/),
	# addresses for documentation are classed as any public one: tried, and whatever comes of it
	at('192.0.2.1', qr/failed after 1 attempt: (?:connect|timeout)\n/),
	at('[2001:db8::1]', qr/failed after 1 attempt: (?:connect|timeout)\n/));

is(scalar $api->requests, 0, 'nothing of it arrived at the API');

# What is to be done about it, as a line to copy.
my ($refused) = check_batch('', { url => "http://127.0.0.1:$port", expect => qr/A superuser can allow it, .*: \Qetl.allowed_hosts = '*, 127.0.0.1', and then SELECT pg_reload_conf().\E$/ },
	{ url => "http://localhost:$port", expect => qr/etl\.allowed_hosts = '\*,(?: 127\.0\.0\.1| ::1|,)+',/ },
	{ url => "http://169.254.169.254:$port", expect => qr/refused even if a range in etl\.allowed_hosts has it/ });
my ($line) = value($node, "SELECT error_hint FROM etl.runs WHERE pipeline = '$refused'") =~ /(etl\.allowed_hosts = '.*?'),/;
run_sql($node, 'ALTER DATABASE postgres RESET etl.allowed_hosts');
$node->append_conf('postgresql.conf', $line);
run_sql($node, "SELECT pg_reload_conf(); SELECT etl.resume('$refused')");
within(20, 'with that line the source can be asked', sub {
	run_sql($node, "SELECT state FROM etl_run($DAY, '$refused')", may_fail => 1)->{out} eq 'success';
});
run_sql($node, 'SELECT etl.pause()');

# ------------------------------------------------------------------------- what is listed

my $NOT_LISTED = qr/failed after 1 attempt: address\nhost "[^"]+" is not in etl\.allowed_hosts\n/;
my $ADDRESS_NOT_LISTED = qr/failed after 1 attempt: address\nhost "[^"]+" is (?:at )?.* that is not in etl\.allowed_hosts\n/;
my $TRIED = qr/failed after 1 attempt: (?:connect|timeout)\n/;

# addresses and ranges
check_batch('127.0.0.1', at('127.0.0.1'), at('localhost'), at('0x7f.1'), at('[::ffff:127.0.0.1]'),
	at('127.0.0.2', $ADDRESS_NOT_LISTED), at('192.0.2.1', $NOT_LISTED));
check_batch('10.0.0.0/8, 127.0.0.0/8', at('127.0.0.1'), at('192.168.0.1', $ADDRESS_NOT_LISTED), at('192.0.2.1', $NOT_LISTED),
	{ url => "http://127.0.0.1:$port", path => '/pages/y', text => 'and its next page' });
check_batch('0.0.0.0/0', at('127.0.0.1'), at('169.254.169.254', $ADDRESS_NOT_LISTED), at('169.254.1.1', $ADDRESS_NOT_LISTED),
	at('100.100.100.200', $ADDRESS_NOT_LISTED), at('[fe80::1]', $ADDRESS_NOT_LISTED), at('[::1]', $ADDRESS_NOT_LISTED), at('192.0.2.1', $TRIED));
check_batch('::/0', at('127.0.0.1', $ADDRESS_NOT_LISTED), at('[::ffff:127.0.0.1]', $ADDRESS_NOT_LISTED), at('[fd00:ec2::254]', $ADDRESS_NOT_LISTED),
	at('192.0.2.1', $NOT_LISTED));
check_batch('169.254.0.0/16, 169.254.254.254', at('169.254.254.254', $TRIED), at('169.254.254.253', $ADDRESS_NOT_LISTED));
# names open public addresses, whatever they resolve to
check_batch('localhost, *.localhost', at('localhost', $ADDRESS_NOT_LISTED), at('127.0.0.1', $ADDRESS_NOT_LISTED), at('192.0.2.1', $NOT_LISTED));
check_batch('*', at('localhost', $ADDRESS_NOT_LISTED), at('127.0.0.1', $ADDRESS_NOT_LISTED), at('169.254.169.254', $ADDRESS_NOT_LISTED), at('192.0.2.1', $TRIED));
check_batch('*, 127.0.0.1', at('localhost'), at('192.0.2.1', $TRIED), at('10.0.0.1', $ADDRESS_NOT_LISTED));
# ports
check_batch("127.0.0.1:$port, 192.0.2.1:80, [::1]:80", at('127.0.0.1'), at('localhost'), at('192.0.2.1', $NOT_LISTED), at('[::1]', $ADDRESS_NOT_LISTED),
	{ url => "http://127.0.0.1:$other_port", expect => $ADDRESS_NOT_LISTED },
	{ url => 'http://192.0.2.1', expect => $TRIED });
# an allowed address that does not answer may yet: this is not said to be a refusal
check_batch('::1', { url => 'http://localhost:9', expect => qr/failed after 1 attempt: connect\n.*; host "localhost" is at 127\.0\.0\.1, a loopback address/ });

# ------------------------------------------------------------------------------ by a proxy

my $through = ", proxy 'http://127.0.0.1:$port'";
sub proxied { return { url => "http://$_[0]", options => $through, text => "$_[0] through a proxy", expect => $_[1] }; }

check_batch('*, 127.0.0.1', (map { proxied($_) } qw(shop.example 192.0.2.1 8.8.8.8 127.0.0.1 [2001:db8::1] [64:ff9b::808:808])),
	(map { proxied($_, $ADDRESS_NOT_LISTED) } qw(127.0.0.2 0x7f.2 127.2 2130706434 10.0.0.1 [::1] 0.0.0.0 169.254.169.254 [64:ff9b::10.0.0.1])),
	(map { proxied($_, qr/failed after 1 attempt: address\nhost "[^"]+" means (?:a loopback address|.*metadata service) to a proxy\n/) }
		qw(localhost localhost. LocalHost a.localhost metadata.google.internal metadata.goog)));
is_deeply([ map { $_->{headers}{host} } grep { $_->{target} =~ m{^http://} && $_->{headers}{host} eq 'localhost' } $api->requests ], [],
	'the proxy was not asked for itself');
check_batch('shop.example, *.example.com, Api.Example.ORG, 127.0.0.1', (map { proxied($_) } qw(shop.example SHOP.example shop.example. a.example.com a.b.example.com api.example.org)),
	(map { proxied($_, $NOT_LISTED) } qw(example.com evilexample.com a.shop.example shop.example.evil.org 8.8.8.8)));
# the proxy is a host like any other
check_batch('', { url => 'http://shop.example', options => $through, expect => qr/: address\nproxy "127\.0\.0\.1" is a loopback address that is not in etl\.allowed_hosts\n.*'\*, 127\.0\.0\.1'/s });
check_batch('shop.example', { url => 'http://shop.example', options => $through, expect => qr/: address\nproxy "127\.0\.0\.1" is a loopback address/ },
	{ url => 'http://shop.example', options => ", proxy 'http://192.0.2.1:3128'", expect => qr/: address\nproxy "192\.0\.2\.1" is not in etl\.allowed_hosts/ });

# ------------------------------------------------------------------------------ redirects

sub redirect
{
	my ($location, $expect, %more) = @_;
	my $path = "/redirect/" . ($more{name} // 'r') . '-' . (1000 + int rand 1e9);

	$api->control('PUT', 'routes', { path => $path, responses => [ { status => $more{status} // 302, headers => { Location => $location } } ] });
	return { url => "http://127.0.0.1:$port", path => $path, expect => $expect, text => 'a redirect to ' . ($location =~ s/[\r\n]/~/gr), options => $more{options} };
}

my $AFTER = qr/failed after 1 attempt: address\nafter a redirect, host "[^"]+" is (?:at )?.* that is not in etl\.allowed_hosts/;
my $MALFORMED = qr/failed after 1 attempt: redirect\nredirect to a malformed URL, or to a scheme other than http and https/;
check_batch("127.0.0.1, 127.0.0.3",
	redirect("http://127.0.0.1:$port/pages/y"), redirect('/pages/y'), redirect("//127.0.0.1:$port/pages/y"), redirect("http://127.0.0.3:$port/pages/y", qr/: connect\n/),
	redirect("http://127.0.0.2:$port/pages/y", $AFTER), redirect("//127.0.0.2:$port/pages/y", $AFTER), redirect("http://0x7f.2:$port/pages/y", $AFTER),
	redirect("http://[::1]:$port/pages/y", $AFTER), redirect("http://[::ffff:127.0.0.2]:$port/pages/y", $AFTER),
	redirect('http://169.254.169.254/latest/meta-data/', qr/after a redirect, host "169\.254\.169\.254" is an address of a cloud's metadata service/),
	redirect("http://192.0.2.1:$port/", qr/after a redirect, host "192\.0\.2\.1" is not in etl\.allowed_hosts/),
	(map { redirect($_, $MALFORMED) } 'file:///etc/passwd', 'FILE:/etc/passwd', 'gopher://127.0.0.1/', 'ftp://127.0.0.1/', 'dict://127.0.0.1:11211/stat', 'ldap://127.0.0.1/', 'javascript:alert(1)',
		"http://127.0.0.1:$port/pages/y\r\n X-Injected-Key: yes", 'http://', 'http://127.0.0.1:99999/'),
	(map { redirect($_, qr/failed after 1 attempt: redirect\nredirect to a URL with credentials in it/) } "http://me:pw-s3cret\@127.0.0.1:$port/pages/y", "http://me\@127.0.0.1:$port/pages/y"),
	redirect("http://127.0.0.1:$port\@127.0.0.2/", qr/credentials in it/));
# one address of a chain is enough
$api->control('PUT', 'routes', { path => '/redirect/second', responses => [ { status => 307, headers => { Location => "http://127.0.0.2:$port/pages/y" } } ] });
check_batch('127.0.0.1', redirect('/redirect/second', $AFTER, name => 'chain'));
is(scalar(grep { exists $_->{headers}{"x-injected-key"} } $api->requests), 0, 'no header was smuggled in');
is(value($node, "SELECT count(*) FROM etl.runs WHERE to_jsonb(runs)::text LIKE '%pw-s3cret%'"), 0, 'credentials of a redirect are not shown');

# A next page is not another way out.
$api->control('PUT', 'routes', { path => '/next', responses => [ { headers => { Link => "<http://127.0.0.2:$port/pages/y>; rel=\"next\"" }, body => '{"data": [{"id": 1}]}' } ] });
$api->control('PUT', 'routes', { path => '/next-userinfo', responses => [ { headers => { Link => "<http://me:pw-s3cret\@127.0.0.1:$port/pages/y>; rel=\"next\"" }, body => '{"data": [{"id": 1}]}' } ] });
run_sql($node, "ALTER DATABASE postgres SET etl.allowed_hosts = '127.0.0.1'; SELECT etl.resume('$refused')");
foreach my $case ([ '/next', qr/is on another host/ ], [ '/next-userinfo', qr/failed after 1 attempt: url\n.*credentials in a URL are not used/s ])
{
	my ($path, $expect) = @$case;

	run_sql($node, "SELECT etl.add_extract('$refused', 'raw.$refused', server => '$refused', path => '$path', records => '\$.data[*]', pagination => '{\"type\": \"link_header\"}')");
	my $result = run_sql($node, "SELECT * FROM etl_run($DAY, '$refused')", may_fail => 1);
	like($result->{err} =~ s/DETAIL:  //r, $expect, "the next page of $path is refused");
	unlike($result->{err}, qr/pw-s3cret/, 'without its credentials');
}

# Hosts that a server's owner lets us go to are none that a superuser did.
run_sql($node, "ALTER SERVER $refused OPTIONS (ADD next_hosts '127.0.0.2:$port')");
run_sql($node, "SELECT etl.add_extract('$refused', 'raw.$refused', server => '$refused', path => '/next', records => '\$.data[*]', pagination => '{\"type\": \"link_header\"}')");
my $next = run_sql($node, "SELECT * FROM etl_run($DAY, '$refused')", may_fail => 1);
like($next->{err}, qr/GET http:\/\/127\.0\.0\.2.* failed after 1 attempt: address\n.*host "127\.0\.0\.2" is a loopback address/s, 'next_hosts opens no address');
run_sql($node, "ALTER SERVER $refused OPTIONS (DROP next_hosts);
	CREATE USER MAPPING FOR CURRENT_USER SERVER $refused OPTIONS (auth 'oauth2_client_credentials', token_url 'http://127.0.0.2:$port/token', client_id 'me', client_secret '$TOKEN')");
$next = run_sql($node, "SELECT * FROM etl_run($DAY, '$refused')", may_fail => 1);
like($next->{err}, qr/127\.0\.0\.2.*: address\n.*host "127\.0\.0\.2" is a loopback address/s, 'nor does token_url');
run_sql($node, "DROP USER MAPPING FOR CURRENT_USER SERVER $refused");
run_sql($node, 'SELECT etl.pause()');

# ---------------------------------------------------------------------------- credentials

# What reached the second port, which is another origin, and what came back from there.
my @arrived;
sub arrived { my ($header, $listener) = @_; return grep { $_->{listener} eq $listener && exists $_->{headers}{$header} } @arrived; }

foreach my $way ([ "auth 'bearer', token '$TOKEN'", 'authorization' ], [ "auth 'basic', username 'me', password '$TOKEN'", 'authorization' ],
	[ "auth 'api_key', api_key '$TOKEN', api_key_header 'X-Shop-Key'", 'x-shop-key' ])
{
	my ($mapping, $header) = @$way;

	$api->control('POST', 'reset', {});
	$api->control('PUT', 'routes', { path => '/out', responses => [ { status => 307, headers => { Location => "http://127.0.0.1:$other_port/back" } } ] });
	$api->control('PUT', 'routes', { path => '/back', responses => [ { status => 307, headers => { Location => "http://127.0.0.1:$port/pages/y" } } ] });
	run_sql($node, "DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER $refused; CREATE USER MAPPING FOR CURRENT_USER SERVER $refused OPTIONS ($mapping);
		SELECT etl.resume('$refused'); SELECT etl.add_extract('$refused', 'raw.$refused', server => '$refused', path => '/out', records => '\$.data[*]')");
	is(run_sql($node, "SELECT state FROM etl_run($DAY, '$refused')", may_fail => 1)->{out}, 'success', "with $header: redirected away and back") ;
	@arrived = $api->requests;
	is(scalar(arrived($header, 'main')), 1, "$header: sent to the source itself");
	is(scalar(arrived($header, 'other')), 0, "$header: not to the other origin");
	is((grep { $_->{path} eq '/pages/y' && exists $_->{headers}{$header} } @arrived), 0, "$header: nor to the source when another origin sent us there");
}
run_sql($node, "DROP USER MAPPING FOR CURRENT_USER SERVER $refused; SELECT etl.pause()");

# ------------------------------------------------------------------------- answers too large

# huge_header, huge_body and gzip_bomb are in 010_faults; here are the caps on headers together.
my %TOO_MUCH = (
	'201 headers' => { (map { ("X-Header-$_" => 'x') } 1 .. 201) },
	'300 kB of headers' => { (map { ("X-Header-$_" => 'x' x 3000) } 1 .. 100) });
foreach my $what (sort keys %TOO_MUCH)
{
	(my $path = "/$what") =~ s/ /-/g;
	$api->control('PUT', 'routes', { path => $path, responses => [ { headers => $TOO_MUCH{$what}, body => '{"data": []}' } ] });
}
$api->control('PUT', 'routes', { path => '/enough', responses => [ { headers => { map { ("X-Header-$_" => 'x' x 1000) } 1 .. 150 }, body => '{"data": []}' } ] });
check_batch('127.0.0.1',
	{ url => "http://127.0.0.1:$port", path => '/201-headers', expect => qr/failed after 1 attempt: too_large\nthe answer has too many headers \(status 200\)/ },
	{ url => "http://127.0.0.1:$port", path => '/300-kB-of-headers', expect => qr/failed after 1 attempt: too_large\nthe headers of the answer are too large \(status 200\)/ },
	{ url => "http://127.0.0.1:$port", path => '/enough' });

# --------------------------------------------------------------------- who may set the list

foreach my $list ('http://api.example.com', 'api.example.com/v2', '10.0.0.0/33', '10.0.0.0/', '*.*.com', 'a*', '127.0.0.1:0', '127.0.0.1:65536', '::1:x', '[::1', '[::1]80',
	'[api.example.com]:80', 'a b', 'api.example.com.', ':80', q{a'';b})
{
	my $result = run_sql($node, "ALTER DATABASE postgres SET etl.allowed_hosts = '$list'", may_fail => 1);
	is($result->{state}, '22023', "the list \"$list\" is refused");
	like($result->{err}, qr/DETAIL:  (?:An entry is|The number behind)/, 'with what is allowed');
}
foreach my $list ('', ' , ', 'a', '*', '*:443', '*.example.com:8443', '_srv.example.com', '::1', '[::1]', '[::1]:80', '[fd00::/8]:80', '10.0.0.0/8:80', "a,b\nc")
{
	is(run_sql($node, "SET etl.allowed_hosts = '$list'", may_fail => 1)->{state}, '00000', "the list \"$list\" is accepted") if $list ne "a,b\nc";
}
run_sql($node, 'CREATE ROLE alice LOGIN; CREATE ROLE auditor LOGIN IN ROLE pg_read_all_settings');
foreach my $sql ("SET etl.allowed_hosts = '*'", "ALTER ROLE alice SET etl.allowed_hosts = '*'", "ALTER SYSTEM SET etl.allowed_hosts = '*'", 'SHOW etl.allowed_hosts')
{
	is(run_sql($node, $sql, user => 'alice', may_fail => 1)->{state}, '42501', "an ordinary role may not $sql");
}
is(value($node, 'SHOW etl.allowed_hosts', user => 'auditor'), '127.0.0.1', 'pg_read_all_settings may see it');

# Before the library is loaded the setting is nobody's: what a role puts there does not last.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
my $unprivileged = session($node, user => 'auditor');
$unprivileged->query("SET etl.allowed_hosts = '*, 0.0.0.0/0'");
my $loaded = $unprivileged->query("SELECT etl.is_valid_json('{}', '{}'); SHOW etl.allowed_hosts");
like($loaded->{out}, qr/^t\n(?!\*)/, 'a role that set it before the library was loaded did not set it');
is($unprivileged->query("SET etl.allowed_hosts = '*'")->{state}, '42501', 'and cannot afterwards');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|\Q$TOKEN\E|pw-s3cret/, 'nothing crashed, no secret is in the log');
$node->stop;
done_testing();
