# JSON is written as JSONB byte for byte as jsonb_in writes it, and refused when jsonb_in
# refuses it: on documents written for the purpose and on random and damaged ones, seeded.
# A database in another encoding goes through jsonb_in; memory and time are bounded.
use strict;
use warnings;

use EtlTest;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $FUZZ = "$FindBin::RealBin/../fuzz";
my @SEEDS = (1, 20261121);
my $DOCUMENTS = 20_000;

my $node = make_node('main', extension => 0);

run_sql($node, "CREATE DATABASE utf8 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
run_sql($node, "CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
run_sql($node, 'CREATE EXTENSION etl', db => $_) foreach qw(utf8 latin1);

# ------------------------------------------------------------ the same as jsonb_in

foreach my $seed (@SEEDS)
{
	my $documents = PostgreSQL::Test::Utils::tempdir() . '/documents';
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'python3', "$FUZZ/json_documents.py", $seed, $DOCUMENTS ], '>', $documents)
	  or BAIL_OUT('no documents');
	ok( IPC::Run::run(
			[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('utf8'), '-f', "$FUZZ/jsonb.sql" ],
			'<', $documents, '>', \$out, '2>', \$err),
		"seed $seed: compared") or diag($err);
	like($out, qr/^$DOCUMENTS documents, (\d+) accepted, (\d+) refused, .*\n\z/,
		"seed $seed: no document on which the two disagree");
	my ($accepted, $refused) = $out =~ /(\d+) accepted, (\d+) refused/;
	cmp_ok($accepted // 0, '>', $DOCUMENTS / 4, "seed $seed: many were accepted");
	cmp_ok($refused // 0, '>', $DOCUMENTS / 4, "seed $seed: many were refused");
	note($out);
}

# ------------------------------------------------------------------ another encoding

is(value($node, q{SELECT encode(convert_to(etl._json_as_jsonb('\x22c3a95c753030653922'::bytea)::text, 'LATIN1'), 'hex')}, db => 'latin1'),
	'22e9e922', 'a database in LATIN1: UTF-8 is converted, and so are escapes');
my $refused = run_sql($node, q{SELECT etl._json_as_jsonb('\x22e282ac22'::bytea)}, db => 'latin1', may_fail => 1);
is($refused->{state}, '22P05', 'what LATIN1 does not have is refused');
$refused = run_sql($node, q{SELECT etl._json_as_jsonb('\x2200'::bytea)}, db => 'latin1', may_fail => 1);
is($refused->{state}, '22021', 'and so is a NUL byte');

# ------------------------------------------------------------------- memory and time

my $session = session($node, db => 'utf8');

$session->send(q{SELECT length(etl._json_as_jsonb(convert_to('["\\\\n' || repeat('x', 20000000) || '"' || repeat(',{"a":[1]}', 1000000) || ']', 'UTF8'))::text) > 30000000});
is($session->wait(60)->{out}, 't', 'a document of 30 MB');
$session->send(q{SELECT sum(total_bytes) < 5000000 FROM pg_backend_memory_contexts WHERE name = 'etl jsonb writer'});
is($session->wait(10)->{out}, 't', 'its buffers are given back');

# A quicksort that takes its pivots from fixed places can be made quadratic; this order is
# bad for many of them.  300,000 keys would take minutes then.
$session->send(q{
	SELECT (SELECT count(*) FROM jsonb_object_keys(etl._json_as_jsonb(convert_to(document, 'UTF8'))))
	FROM (SELECT '{' || string_agg(format('"%s":0', to_char(CASE WHEN n % 2 = 0 THEN n ELSE 300000 - n END, 'FM000000')), ',' ORDER BY n) || '}'
		FROM generate_series(1, 300000) n) x (document)});
my $result = $session->wait(20);
is($result && $result->{out}, '300000', 'an object of 300,000 keys in an unfortunate order');
$session->close;

$node->stop;
done_testing();
