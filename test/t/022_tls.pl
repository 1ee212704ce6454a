# TLS: whom we trust, what we show, and to whom.
use strict;
use warnings;

use EtlTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs openssl' if system('openssl version >/dev/null 2>&1') != 0;

my $DAY = '2026-11-19';
my $node = make_node('main', preload => 1);
my $files = "$PostgreSQL::Test::Utils::tmp_check/tls";
my $secrets = $node->data_dir . '/etl_secrets';
mkdir $_, 0700 foreach $files, $secrets;

sub openssl
{
	my (@arguments) = @_;

	system("openssl @arguments >>$files/openssl.log 2>&1") == 0
	  or BAIL_OUT("openssl @arguments: " . slurp_file("$files/openssl.log"));
	return;
}

# Makes NAME.pem, certificate and key, signed by an authority (itself without one).
sub make_certificate
{
	my ($name, $authority, $extension) = @_;

	openssl("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $files/$name.key -out $files/$name.csr -subj /CN=$name");
	append_to_file("$files/$name.ext", $extension // "basicConstraints=critical,CA:true\n");
	my $signer = defined $authority ? "-CA $files/$authority.crt -CAkey $files/$authority.key -CAcreateserial" : "-signkey $files/$name.key";
	openssl("x509 -req -days 2 -in $files/$name.csr -out $files/$name.crt -extfile $files/$name.ext $signer");
	append_to_file("$files/$name.pem", slurp_file("$files/$name.crt") . slurp_file("$files/$name.key"));
	return;
}

make_certificate('authority');
make_certificate('stranger');
make_certificate('server', 'authority', "subjectAltName=IP:127.0.0.1\n");
make_certificate('misnamed', 'authority', "subjectAltName=DNS:elsewhere.example.com\n");
make_certificate('client', 'authority', "extendedKeyUsage=clientAuth\n");
make_certificate('outsider', 'stranger', "extendedKeyUsage=clientAuth\n");
openssl("ec -in $files/client.key -aes128 -passout pass:s3cret -out $files/encrypted.key");
append_to_file("$secrets/$_", slurp_file("$files/$_")) foreach qw(client.crt client.key client.pem outsider.pem encrypted.key server.crt);

my %api = (
	open => EtlTest::Api->start('--tls-certificate', "$files/server.pem"),
	old => EtlTest::Api->start('--tls-certificate', "$files/server.pem", '--tls-max', '1.2'),
	misnamed => EtlTest::Api->start('--tls-certificate', "$files/misnamed.pem"),
	strict => EtlTest::Api->start('--tls-certificate', "$files/server.pem", '--tls-client-ca', "$files/authority.crt"),
	asking => EtlTest::Api->start('--tls-certificate', "$files/server.pem", '--tls-client-ca', "$files/authority.crt", '--tls-client', 'optional'),
);
# Python's server hangs up where others say what is wrong: those are asked here.
my @bare;
sub start_bare
{
	my ($name, @arguments) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$files/$name.out");
		open(STDERR, '>&', \*STDOUT);
		{ exec('openssl', 's_server', '-accept', '127.0.0.1:0', '-www', '-cert', "$files/server.crt", '-key', "$files/server.key", @arguments); }
		POSIX::_exit(127);
	}
	push @bare, $pid;
	wait_until("$name is up", 20, sub { -s "$files/$name.out" && slurp_file("$files/$name.out") =~ /^ACCEPT .*:\d+/m });
	my ($port) = slurp_file("$files/$name.out") =~ /^ACCEPT .*:(\d+)/m;
	return "https://127.0.0.1:$port";
}
END { kill 'TERM', $_ foreach @bare; }

my %url = map { $_ => 'https://127.0.0.1:' . $api{$_}->control('GET', 'info')->{tls_port} } keys %api;
$url{telling_old} = start_bare('telling_old', '-tls1_2');
$url{telling_strict} = start_bare('telling_strict', '-CAfile', "$files/authority.crt", '-Verify', 1, '-verify_return_error');
my $trust = "ca_file '$files/authority.crt'";
my $shown = "client_certificate_file 'client.crt', client_key_file 'client.key'";

# Extracts two pages from one of the servers.
my $count = 0;
sub extract
{
	my ($which, $options, %more) = @_;
	my $name = 'tls' . ++$count;
	my $path = $more{path} // "/pages/$name";

	run_sql($node, <<SQL);
CREATE SERVER $name FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url{$which}', retry_delay '10 ms', max_attempts '2', $options);
CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (auth 'bearer', token 'tls-t0ken');
SELECT etl.create_pipeline('$name');
SELECT etl.add_extract('$name', 'raw.$name', server => '$name', path => '$path',
	query => '{"pages": 2, "per_page": 5}', records => '\$.data[*]', pagination => '{"type": "link_header"}');
SQL
	my $result = run_sql($node, "SELECT state, fetched FROM etl_run(date '$DAY', '$name')", may_fail => 1);
	$result->{name} = $name;
	return $result;
}

sub works
{
	my ($what, @arguments) = @_;
	my $result = extract(@arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($result->{out}, 'success|10', $what) or diag($result->{err});
	return $result;
}

sub fails
{
	my ($what, $state, $pattern, @arguments) = @_;
	my $result = extract(@arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_failure($result, $state, $what);
	like($result->{err}, $pattern, "$what: says so");
	unlike($result->{err}, qr/PRIVATE KEY|BEGIN|\Q$secrets\E/, "$what: and shows nothing");
	return $result;
}

# The names of the certificates that clients showed.
sub certificates
{
	my ($which, $path) = @_;

	return join ' ', map { $_->{client_certificate} // 'none' } $api{$which}->requests($path);
}

# ---------------------------------------------------------------------- whom we trust

works('a certificate of the authority in ca_file', 'open', $trust);
fails('one of an unknown authority', 'HV000', qr/after 1 attempt: tls.*HINT: .*ca_file/s, 'open', "timeout '20 s'");
fails('one of another authority', 'HV000', qr/after 1 attempt: tls/, 'open', "ca_file '$files/stranger.crt'");
fails('one for another host', 'HV000', qr/after 1 attempt: tls/, 'misnamed', $trust);
works('verify_tls off: any', 'misnamed', "verify_tls 'off'");

works('TLS 1.2 by default', 'old', $trust);
fails('a server without TLS 1.3', 'HV000', qr/after 1 attempt: tls/, 'telling_old', "$trust, min_tls_version '1.3'");
works('and one with it', 'open', "$trust, min_tls_version '1.3'");

# ------------------------------------------------------------------------ what we show

my $result = works('a client certificate', 'strict', "$trust, $shown");
is(certificates('strict', "/pages/$result->{name}"), 'client client', 'is shown');
works('certificate and key in one file', 'strict', "$trust, client_certificate_file 'client.pem', client_key_file 'client.pem'");
fails('none where one is required', 'HV000', qr/after 1 attempt: tls.*HINT: .*client_certificate_file/s, 'telling_strict', $trust);
fails('one of another authority', 'HV000', qr/after 1 attempt: tls/, 'telling_strict', "$trust, client_certificate_file 'outsider.pem', client_key_file 'outsider.pem'");
fails('a key that is not its own', 'HV000', qr/after 1 attempt: tls/, 'strict', "$trust, client_certificate_file 'client.crt', client_key_file 'outsider.pem'");
fails('a file without a key', 'HV000', qr/after 1 attempt: tls/, 'strict', "$trust, client_certificate_file 'client.crt', client_key_file 'server.crt'");
fails('a key with a passphrase', 'HV000', qr/after 1 attempt: tls/, 'strict', "$trust, client_certificate_file 'client.crt', client_key_file 'encrypted.key'");
fails('a file that is not there', '58P01', qr/could not open the secret file "no.pem"/, 'strict', "$trust, client_certificate_file 'no.pem', client_key_file 'no.pem'");

# ---------------------------------------------------------------------------- and to whom

$result = works('a server that asks for a certificate', 'asking', "$trust, $shown");
is(certificates('asking', "/pages/$result->{name}"), 'client client', 'gets it');

$api{asking}->reset;
$api{open}->fault(match => '/pages/redirected', page => 2, fault => 'redirect_to_file', url => "$url{asking}/pages/redirected?pages=2&per_page=5&page=2");
works('a redirect to another origin', 'open', "$trust, $shown", path => '/pages/redirected');
is(certificates('asking', '/pages/redirected'), 'none', 'no certificate is shown there');
is(scalar(grep { $_->{headers}{authorization} } $api{asking}->requests('/pages/redirected')), 0, 'nor a token');
my ($asking) = $url{asking} =~ m{//(.*)};
$api{open}->fault(match => '/pages/linked', page => 1, fault => 'link_to', url => "$url{asking}/pages/linked?pages=2&per_page=5&page=2");
works('a link to one of next_hosts', 'open', "$trust, $shown, next_hosts '$asking'", path => '/pages/linked');
is(certificates('asking', '/pages/linked'), 'none', 'no certificate is shown there either');
is(scalar(grep { $_->{headers}{authorization} } $api{asking}->requests('/pages/linked')), 0, 'nor a token');
$api{open}->fault(match => '/pages/downgraded', page => 1, fault => 'link_to', url => $api{asking}->url . '/pages/downgraded?page=2');
my ($plain) = $api{asking}->url =~ m{//(.*)};
fails('a link of next_hosts that leaves https', 'HV000', qr/is on another host/, 'open', "$trust, next_hosts '$plain'", path => '/pages/downgraded');

# The rights that files need.
run_sql($node, <<SQL);
CREATE ROLE alice LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO alice;
GRANT CREATE ON DATABASE postgres TO alice;
SQL
foreach my $options ($trust, $shown)
{
	my ($option) = $options =~ /^(\w+)/;
	run_sql($node, <<SQL, user => 'alice');
CREATE SERVER $option FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url{open}', $options);
CREATE SCHEMA $option;
SELECT etl.create_pipeline('$option');
SELECT etl.add_extract('$option', '$option.items', server => '$option', path => '/pages/$option', records => '\$.data[*]');
SQL
	my $refused = run_sql($node, "SELECT state FROM etl_run(date '$DAY', '$option')", user => 'alice', may_fail => 1);
	is_failure($refused, '42501', "$option of a role that may not read files");
}

my $log = slurp_file($node->logfile);
unlike($log, qr/PRIVATE KEY|tls-t0ken/, "no key and no token in the server's log");
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');

$node->stop;
done_testing();
