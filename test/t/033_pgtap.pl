# The example of a test with pgTAP: as documented, and nothing stays.
use strict;
use warnings;

use EtlTest;
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $example = dirname(__FILE__) . '/../../docs/examples/test_pipeline.sql';
my $node = make_node('main', preload => 1);

plan skip_all => 'pgTAP is not installed'
  unless $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'");
$node->safe_psql('postgres', 'CREATE EXTENSION pgtap');
my ($code, $out, $err) = (0, '', '');
$code = $node->psql('postgres', slurp_file($example), stdout => \$out, stderr => \$err);
is($code, 0, 'the example runs') or diag $err;
is(scalar(() = $out =~ /^ok \d+/mg), 9, 'and all of its tests pass') or diag $out;
unlike($out, qr/^not ok/m, 'none fails');
is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM etl.pipelines) + (SELECT count(*) FROM etl.runs) + (SELECT count(*) FROM pg_namespace WHERE nspname = 'example')}),
	0, 'nothing stays');
done_testing();
