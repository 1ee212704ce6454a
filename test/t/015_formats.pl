# Formats, charsets, compressions and request bodies, from a server to raw rows: the same
# records however they are written, each broken one in quarantine with its bytes, and no
# file that is cut short or an error taken for a shorter or empty one.
use strict;
use warnings;

use Encode;
use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAY = "date '2026-11-19'";
my $ATTEMPTS = 3;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;
my $json = JSON::PP->new->canonical->allow_nonref;
my $zstd = value($node, 'SELECT etl._reads_zstd()') eq 't';
my $options = "base_url '$url', max_attempts '$ATTEMPTS', retry_delay '10 ms', max_wait '6 s', timeout '20 s'";

run_sql($node, <<SQL);
CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS ($options);
CREATE SERVER small FOREIGN DATA WRAPPER etl_http OPTIONS ($options, max_body_size '1MB');
SQL

sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'"; }

# SQL that declares a pipeline with one extraction; what is given goes to etl.add_extract,
# references as JSON.
sub declaration
{
	my ($name, %arguments) = @_;
	my $server = delete $arguments{server} // 'api';
	my $given = join ', ', map { "$_ => " . quoted(ref $arguments{$_} ? $json->encode($arguments{$_}) : $arguments{$_}) } sort keys %arguments;

	return "SELECT etl.create_pipeline('$name', replace => true);\nSELECT etl.add_extract('$name', 'raw.$name', server => '$server', $given);\n";
}

sub declare { my ($name, %arguments) = @_; run_sql($node, 'BEGIN;' . declaration($name, %arguments) . 'COMMIT'); return; }

sub run_pipeline { my ($name) = @_; return run_sql($node, "SELECT state, fetched, loaded, quarantined FROM etl_run($DAY, '$name')", may_fail => 1, seconds => 120); }

# ------------------------------------------- the same records, however they are written

# Name, query of /files/x, options; all have 60 records.  Of csv all values are text.
my @SAME = (
	[ 'ndjson', '' ],
	[ 'ndjson_crlf', 'line_end=crlf' ],
	[ 'ndjson_no_final', 'final=0' ],
	[ 'ndjson_bom', 'bom=1' ],
	[ 'ndjson_blank_lines', 'insert=%20&after=3' ],
	[ 'json', 'format=json' ],
	[ 'csv', 'format=csv' ],
	[ 'csv_crlf', 'format=csv&line_end=crlf&bom=1' ],
	[ 'csv_cr', 'format=csv&line_end=cr&final=0' ],
	[ 'csv_semicolon', 'format=csv&delimiter=;&null=%5CN', csv => { delimiter => ';', null => '\\N' } ],
	[ 'csv_quote', 'format=csv&quote=%27&delimiter=%09', csv => { delimiter => "\t", quote => "'" } ],
	[ 'csv_columns', 'format=csv&header=0', csv => { header => JSON::PP::false, columns => [qw(id text amount closed_at)] } ],
	[ 'csv_match', 'format=csv', csv => { columns => [qw(id text amount closed_at)] } ],
	[ 'gzip', 'compression=gzip' ],
	[ 'gzip_named', 'compression=gzip', compression => 'gzip' ],
	[ 'gzip_parts', 'compression=gzip_parts&append=000000' ],
	[ 'json_gzip', 'format=json&compression=gzip' ],
	[ 'csv_gzip', 'format=csv&compression=gzip' ],
	[ 'zstd', 'compression=zstd' ],
	[ 'zstd_named', 'compression=zstd', compression => 'zstd' ],
	[ 'zstd_parts', 'format=csv&compression=zstd_parts' ],
	# a frame that is to be skipped, before and after
	[ 'zstd_skippable', 'compression=zstd&append=502a4d1803000000616263' ],
	[ 'western', 'texts=western&charset=windows-1252' ],
	[ 'western_csv', 'texts=western&charset=windows-1252&format=csv' ],
	[ 'western_json', 'texts=western&charset=windows-1252&format=json' ],
	[ 'western_unsaid', 'texts=western&charset=windows-1252&format=csv&say=', charset => 'cp1252' ],
	[ 'western_lied', 'texts=western&charset=windows-1252&say=charset=utf-8', charset => 'windows-1252' ],
	[ 'latin', 'texts=latin&charset=iso-8859-1&format=csv' ],
	[ 'japanese', 'texts=japanese&charset=shift_jis' ],
	[ 'japanese_csv', 'texts=japanese&charset=shift_jis&format=csv&compression=gzip' ],
	[ 'japanese_euc', 'texts=japanese&charset=euc-jp&format=json' ],
	[ 'chinese', 'texts=chinese&charset=big5&format=csv' ],
	[ 'chinese_gb', 'texts=chinese&charset=gb18030&format=csv' ],
	[ 'utf16', 'texts=any&charset=utf-16' ],
	[ 'utf16le', 'texts=any&charset=utf-16-le&say=charset=utf-16le&format=csv' ],
	[ 'utf16be', 'texts=any&charset=utf-16-be&say=&format=json', charset => 'utf-16' ],
	[ 'utf16_bom', 'texts=any&charset=utf-16-be&bom=1&say=&format=csv' ],
	[ 'utf32', 'texts=any&charset=utf-32&say=' ],
	[ 'utf32_gzip', 'texts=any&charset=utf-32-be&bom=1&say=&compression=gzip&format=csv' ],
);
@SAME = grep { $zstd || $_->[0] !~ /zstd/ } @SAME;

sub declare_file
{
	my ($name, $query, %options) = @_;
	my $server = delete $options{server};
	my $format = $query =~ /\bformat=(\w+)/ ? $1 : 'ndjson';

	return declaration($name, path => "/files/x?records=60&$query", format => $format, options => \%options, $server ? (server => $server) : ());
}

my %texts = map { $_->[1] =~ /texts=(\w+)/ ? ($1 => 1) : () } @SAME;
run_sql($node, 'SET client_min_messages = error;' . join '', (map { declare_file("reference_$_", "texts=$_") } sort keys %texts), map { declare_file(@$_) } @SAME);
run_sql($node, "SELECT count(*) FROM etl_run($DAY)", seconds => 200);
foreach my $case (@SAME)
{
	my ($name, $query) = @$case;
	my $reference = $query =~ /texts=(\w+)/ ? "reference_$1" : 'ndjson';
	my $right = $query =~ /format=csv/ ? '(SELECT jsonb_object_agg(key, value #>> \'{}\') FROM jsonb_each(r.payload))' : 'r.payload';

	is(value($node, <<SQL), '60|60', "$name: the same records, in their order");
SELECT count(*), count(*) FILTER (WHERE x.payload = $right) FROM raw.vr_$name x FULL JOIN raw.vr_$reference r USING (record_number)
SQL
}
is(value($node, "SELECT count(DISTINCT payload ->> 'text') FROM raw.vr_ndjson"), 16, 'with all the traps');
is(value($node, 'SELECT count(*) FROM etl.quarantine'), 0, 'nothing was refused');
# what is counted is what was received, not what is made of it
is(value($node, "SELECT bytes FROM etl.slices WHERE pipeline = 'csv'"), length $api->{http}->get("$url/files/x?records=60&format=csv")->{content}, 'the bytes of a CSV file are counted');

# ------------------------------------------------ a broken record is one broken record

# Name, query, the line inserted after the second, in characters; the charset of its bytes.
my @BROKEN = (
	[ 'broken_line', '', '{"id": 7, "text": "cut' ],
	[ 'broken_gzip', 'compression=gzip', 'zork' ],
	[ 'broken_japanese', 'texts=japanese&charset=shift_jis', '{"表", ソ', 'shiftjis' ],
	[ 'broken_utf16', 'texts=any&charset=utf-16-le&bom=1&say=', '{"id": 😀}', 'UTF-16LE' ],
	[ 'short_row', 'format=csv', '7,"x, y"' ],
	[ 'long_row', 'format=csv&compression=gzip', '7,x,1.5,,,' ],
	[ 'empty_row', 'format=csv', '' ],
	[ 'bare_return', 'format=csv', "7,x\ry,1," ],
	[ 'japanese_row', 'texts=japanese&charset=shift_jis&format=csv', '"表, ""ソ""' . "\n" . '",x', 'shiftjis' ],
	[ 'utf16_row', 'texts=any&charset=utf-16-be&bom=1&say=&format=csv', '1,2,3,4,😀', 'UTF-16BE' ],
);
run_sql($node, 'SET client_min_messages = error;' . join '', map {
	my ($name, $query, $line) = @$_;
	my $inserted = uri($line);
	declare_file($name, "$query&insert=$inserted&after=2")
} @BROKEN);

# Percent-encoded UTF-8; the source of this file is not "use utf8", its strings are bytes.
sub uri { my ($text) = @_; $text =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge; return $text; }

foreach my $case (@BROKEN)
{
	my ($name, $query, $line, $charset) = @$case;
	my $inserted = uri($line);
	my $bytes = $charset ? encode($charset, decode('UTF-8', $line)) : $line;
	# "texts" of csv after the second line: those of the first record are one line each
	is(run_pipeline($name)->{out}, 'success|61|60|1', "$name: one record of sixty-one is refused");
	my ($hex, $offset, $number, $code) = split /\|/, value($node, "SELECT encode(record, 'hex'), byte_offset, record_number, reason_code FROM etl.quarantine WHERE pipeline = '$name'");
	is($hex // '', unpack('H*', $bytes), "$name: it is there as it came");
	like($code, $query =~ /csv/ ? qr/^22P04$/ : qr/^22/, "$name: with a code");
	(my $plain = "$query&insert=$inserted&after=2") =~ s/compression=\w+//;
	my $file = $api->{http}->get("$url/files/x?records=60&$plain")->{content};
	is(unpack('H*', substr $file, $offset, length $bytes), unpack('H*', $bytes), "$name: at its place in the file");
}
like(value($node, "SELECT string_agg(reason, '; ' ORDER BY pipeline) FROM etl.quarantine WHERE pipeline ~ 'row|return'"),
	qr/^unquoted carriage return found in data; missing data for column "text"; missing data for column "amount"; extra data after last expected column; /, 'the reasons are those of COPY');
# invalid UTF-8 is a record's own
declare_file('invalid', 'charset=latin-1&texts=latin&say=');
run_sql($node, declare_file('invalid', 'charset=latin-1&texts=latin&say=&format=csv'));
like(run_pipeline('invalid')->{out}, qr/^success\|60\|(?:4\d|5\d)\|\d+$/, 'what is not UTF-8 is refused by the record');
is(value($node, "SELECT string_agg(DISTINCT reason_code, ',') FROM etl.quarantine WHERE pipeline = 'invalid'"), '22021', 'as such');

# ------------------------------------------------------- what is no file, or not whole

# Name, query, what the error says, options.  again: it is asked for three times.
my @FAILING = (
	[ 'cut_gzip', 'compression=gzip&cut=9', qr/^22032\n.*is not whole NDJSON: the gzip file is cut short/, again => 1 ],
	[ 'cut_zstd', 'compression=zstd&cut=9', qr/^22032\n.*is not whole NDJSON: the zstd file is cut short/, again => 1 ],
	[ 'cut_part', 'compression=gzip_parts&cut=30&format=csv', qr/^22032\n.*is not whole CSV: the gzip file is cut short/, again => 1 ],
	[ 'cut_quote', 'format=csv&cut=4', qr/^22032\n.*is not whole CSV: it ends within a quoted field/, again => 1 ],
	[ 'cut_utf16', 'charset=utf-16-le&say=charset=utf-16le&cut=1', qr/^22032\n.*is not whole NDJSON: it ends within a character/, again => 1 ],
	[ 'no_gzip', '', qr/^22032\n.*is not whole NDJSON: it is not a gzip file/, again => 1, compression => 'gzip' ],
	[ 'json_for_csv', 'format=csv&content_type=x', qr/^22032\n.*is not whole CSV: it begins like JSON/, again => 1, path => '/pages/a' ],
	[ 'json_for_ndjson', '', qr/^22032\n.*cannot be read: it is one JSON document over several lines/, path => '/scripted/pretty' ],
	[ 'garbage_gzip', 'compression=gzip&append=ff', qr/^22P03\n.*cannot be read: something follows the end of the gzip file/ ],
	[ 'garbage_zstd', 'compression=zstd&append=ffffffffff', qr/^22P03\n.*cannot be read: something follows the end of the zstd file/ ],
	[ 'zip', '', qr/^0A000\n.*cannot be read: it is a zip archive/, path => '/scripted/zip' ],
	[ 'bomb_gzip', 'compression=gzip&padding=30', qr/^HV000\n.*cannot be read: it has more than 1048576 bytes when it is decompressed.*max_body_size/s, server => 'small' ],
	[ 'bomb_zstd', 'compression=zstd&padding=30', qr/^HV000\n.*cannot be read: it has more than 1048576 bytes when it is decompressed.*max_body_size/s, server => 'small' ],
	[ 'wide_csv', 'format=csv', qr/^HV000\n.*cannot be read: it becomes more than 1048576 bytes of JSON.*max_body_size/s, server => 'small', path => '/scripted/wide' ],
	[ 'charset_unknown', 'say=charset=klingon', qr/^22021\n.*cannot be read: its charset "klingon" \(Content-Type\) is not known.*option charset/s ],
	[ 'charset_wrong', 'charset=windows-1252&texts=western&append=81', qr/^22P05\n.*cannot be read: the byte 0x81 at offset \d+ is no character of windows-1252 \(Content-Type\).*option charset/s ],
	[ 'charset_utf16', 'charset=utf-16-be&bom=1&say=&append=d8000041', qr/^22P05\n.*cannot be read: the bytes 0xd8 0x00 at offset \d+ are no character of utf-16be \(byte order mark\)/ ],
	[ 'header_twice', 'format=csv', qr/^22P04\n.*cannot be read: columns 1 and 3 of its header are both "a".*csv\.columns/s, path => '/scripted/header' ],
	[ 'header_other', 'format=csv', qr/^22P04\n.*cannot be read: its header has "text" for column 2, where csv\.columns has "texts"/, csv => { columns => [qw(id texts amount closed_at)] } ],
);
@FAILING = grep { $zstd || $_->[0] !~ /zstd/ } @FAILING;
sub script { my ($path, @bodies) = @_; $api->control('PUT', 'routes', { path => $path, responses => [ map { { body => $_ } } @bodies ] }); return; }
script('/scripted/pretty', "[\n  {\"a\": 1},\n  {\"a\": 2}\n]\n");
script('/scripted/zip', "PK\x03\x04zip");
script('/scripted/wide', ('column_of_a_long_name_' x 20) . "\n" . "x\n" x 3000);
script('/scripted/header', "a,b,a\n1,2,3\n");

run_sql($node, 'SET client_min_messages = error;' . join '', map {
	my ($name, $query, $pattern, %more) = @$_;
	my $path = delete $more{path};
	delete $more{again};
	my $sql = declare_file($name, $query, %more);
	$sql =~ s{/files/x\?[^']*}{$path} if $path;
	$sql
} @FAILING);
foreach my $case (@FAILING)
{
	my ($name, $query, $pattern, %more) = @$case;
	my $result = run_pipeline($name);
	my $said = value($node, "SELECT concat_ws(E'\\n', error_code, error_message, error_detail, error_hint) FROM etl.runs WHERE pipeline = '$name' ORDER BY run_id DESC LIMIT 1");
	my $attempts = $more{again} ? $ATTEMPTS : 1;

	isnt($result->{state}, '00000', "$name: the run fails");
	like($said, $pattern, "$name: and says why");
	like($said, qr/after $attempts attempts?\b/, "$name: after $attempts attempts");
	is(value($node, "SELECT count(*) FROM raw.$name"), 0, "$name: nothing is loaded");
}

# It was cut short once.
my $whole = $api->{http}->get("$url/files/x?records=60&format=csv")->{content};
script('/scripted/once', substr($whole, 0, length($whole) - 4), $whole);
declare('once', path => '/scripted/once', format => 'csv');
is(run_pipeline('once')->{out}, 'success|60|60|0', 'a file that was cut short is asked for again');
is(value($node, "SELECT attempts FROM etl.slices WHERE pipeline = 'once'"), 2, 'once');

# Nothing at all is a success.
run_sql($node, 'SET client_min_messages = error;' . declare_file('empty_ndjson', '') . declare_file('empty_csv', 'format=csv') . declare_file('empty_gzip', 'compression=gzip'));
run_sql($node, "UPDATE etl.task SET definition = jsonb_set(definition, '{path}', to_jsonb(replace(definition ->> 'path', 'records=60', 'records=0'))) WHERE pipeline ~ '^empty_'");
is(run_pipeline("empty_$_")->{out}, 'success|0|0|0', "nothing, as $_") foreach qw(ndjson csv gzip);
script('/scripted/only_header', "a,b\r\n");
declare('only_header', path => '/scripted/only_header', format => 'csv');
is(run_pipeline('only_header')->{out}, 'success|0|0|0', 'a header and no rows');

# Pages of rows follow each other as others do.
declare('paged', path => '/paged.csv', format => 'csv', pagination => { type => 'cursor', last_record => '$.id', parameter => 'after' });
$api->control('PUT', 'routes', { path => $_->[0], responses => [ { body => $_->[1] } ] })
	foreach [ '/paged.csv?after=2', "id\n3\n" ], [ '/paged.csv?after=3', "id\n" ], [ '/paged.csv', "id\n1\n2\n" ];
is(run_pipeline('paged')->{out}, 'success|3|3|0', 'the last row of a page leads to the next one');

# ----------------------------------------------------------------------- request bodies

run_sql($node, <<'SQL');
CREATE TABLE shops (shop_id integer, "Shop Name" text, tags text[]);
INSERT INTO shops VALUES (7, 'x "ü" \', '{a,b}'), (8, NULL, '{}');
SQL
declare('echo', path => '/echo', records => '$', method => 'POST', for_each => 'public.shops',
	body => { shop => '{shop_id}', name => '{Shop Name}', tags => '{tags}', text => 'no. {shop_id} of {ds}', run => '{{x}}', since => '{data_interval_start:YYYY-MM-DD}', deep => [ { null => undef, n => 1.50 } ] });
is(run_pipeline('echo')->{out}, 'success|2|2|0', 'a POST for each row');
is(value($node, "SELECT string_agg((payload ->> 'body')::jsonb::text, E'\\n' ORDER BY payload ->> 'body' DESC) FROM raw.vr_echo"), <<'TEXT' =~ s/\n\z//r, 'the bodies are filled, with types');
{"run": "{x}", "deep": [{"n": 1.5, "null": null}], "name": null, "shop": 8, "tags": [], "text": "no. 8 of 2026-11-19", "since": "2026-11-19"}
{"run": "{x}", "deep": [{"n": 1.5, "null": null}], "name": "x \"ü\" \\", "shop": 7, "tags": ["a", "b"], "text": "no. 7 of 2026-11-19", "since": "2026-11-19"}
TEXT
is(value($node, "SELECT string_agg(DISTINCT concat_ws(' ', payload ->> 'method', payload -> 'headers' ->> 'content-type'), ',') FROM raw.vr_echo"), 'POST application/json', 'they are JSON, and say so');
declare('typed', path => '/echo', records => '$', method => 'POST', body => {}, headers => { 'content-type' => 'application/vnd.api+json' });
run_pipeline('typed');
is(value($node, "SELECT payload -> 'headers' ->> 'content-type' FROM raw.vr_typed"), 'application/vnd.api+json', 'the task may say something else');
declare('bare', path => '/echo', records => '$', method => 'POST');
is(run_pipeline('bare')->{out}, 'success|1|1|0', 'a POST without a body');

# The parameter of pages in the body: numbers, positions, tokens.
declare('by_number', path => '/pages/body', records => '$.data[*]', method => 'POST', body => { page => 1, per_page => 10, pages => 4, note => 'keep "me"' }, pagination => { type => 'page_number', body_parameter => '$.page', size => 10 });
declare('by_offset', path => '/pages/body', records => '$.data[*]', method => 'POST', body => { offset => 0, limit => 10, pages => 4 }, pagination => { type => 'offset', body_parameter => '$.offset', size => 10 });
declare('by_token', path => '/pages/body', records => '$.data[*]', method => 'POST', body => { cursor => undef, per_page => 10, pages => 4, style => 'cursor' },
	pagination => { type => 'cursor', cursor => '$.next_cursor', has_more => '$.has_more', body_parameter => '$.cursor' });
foreach my $name (qw(by_number by_offset by_token))
{
	is(run_pipeline($name)->{out}, 'success|40|40|0', "$name: all pages");
	is(value($node, "SELECT count(DISTINCT payload ->> 'id') FROM raw.vr_$name"), 40, "$name: each once");
}

# ------------------------------------------------------------------------------ GraphQL

my $document = <<'GRAPHQL';
# all issues, oldest first
query Issues($owner: String!, $name: String!, $first: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    issues(first: $first, after: $after) {
      totalCount pageInfo { endCursor hasNextPage }
      nodes { number title state author { login } }
    }
  }
}
GRAPHQL
my %graphql = (path => '/graphql', method => 'POST', records => '$.data.repository.issues.nodes[*]',
	pagination => { type => 'cursor', cursor => '$.data.repository.issues.pageInfo.endCursor', has_more => '$.data.repository.issues.pageInfo.hasNextPage', body_parameter => '$.variables.after' });
sub body { my (%variables) = @_; return { query => $document, variables => { owner => 'octocat', name => 'renames', first => 3, after => undef, %variables } }; }

declare('graphql', %graphql, body => body());
is(run_pipeline('graphql')->{out}, 'success|8|8|0', 'GraphQL: all pages');
is(value($node, "SELECT count(*), count(DISTINCT payload ->> 'number'), count(DISTINCT slice) FROM raw.vr_graphql"), '8|8|3', 'each issue once, in three pages');
is((grep { $_->{method} eq 'POST' } $api->requests('/graphql')), 3, 'three requests');

# It goes on where it failed.
declare('resumed', %graphql, body => body());
$api->control('POST', 'reset', {});
$api->fault(match => '/graphql', fault => 'status_500', skip => 2);
isnt(run_pipeline('resumed')->{state}, '00000', 'the third page fails');
$api->heal;
is(run_pipeline('resumed')->{out}, 'success|8|8|0', 'it goes on');
is((grep { $_->{status} == 200 } $api->requests('/graphql')), 3, 'nothing is asked for twice');

# For each row, with variables of their type.
run_sql($node, q(CREATE TABLE repositories (owner text, name text, size integer); INSERT INTO repositories VALUES ('octocat', 'renames', 5), ('octocat', 'empty', 2)));
declare('many', %graphql, for_each => 'public.repositories', body => body(owner => '{owner}', name => '{name}', first => '{size}'));
is(run_pipeline('many')->{out}, 'success|8|8|0', 'GraphQL: for each repository');

# An error is no empty page, whatever came with it.
my @ERRORS = (
	[ 'not_found', body(name => 'nowhere'), qr/is an error: Could not resolve to a Repository with the name 'octocat\/nowhere'\..*Status 200 after 1 attempt\b/s ],
	[ 'null_list', body(first => undef), qr/is an error: You must provide a `first` or `last` value/ ],
	[ 'null_data', body(after => 'zork'), qr/is an error: `zork` does not appear to be a valid cursor/ ],
	[ 'no_data', { %{ body() }, query => "query Q {\n  a { b }" }, qr/is an error: Parse error on/ ],
);
foreach my $case (@ERRORS)
{
	my ($name, $asked, $pattern) = @$case;

	declare("error_$name", %graphql, body => $asked);
	is_failure(run_pipeline("error_$name"), 'HV000', "GraphQL: $name");
	like(value($node, "SELECT concat_ws(E'\\n', error_message, error_detail) FROM etl.runs WHERE pipeline = 'error_$name'"), $pattern, "GraphQL: $name is said");
}
# several requests in one, one of which fails; a message that is none; a quota
script('/batch', '[{"data": {"a": [1]}}, {"data": {"a": null}, "errors": [{"extensions": {"code": "X"}}, {"message": "two"}, {"message": "three"}, {"message": "four"}]}]');
declare('error_batch', path => '/batch', method => 'POST', records => '$[*].data.a[*]', body => [ { query => $document }, { query => $document } ]);
is_failure(run_pipeline('error_batch'), 'HV000', 'GraphQL: a batch');
like(value($node, "SELECT error_message FROM etl.runs WHERE pipeline = 'error_batch'"), qr/is an error: an error without a message; two; three; and 1 more$/, 'GraphQL: the first messages are shown');
script('/limited', '{"data": null, "errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}', '{"data": {"a": [1, 2]}}');
declare('limited', path => '/limited', method => 'POST', records => '$.data.a[*]', body => { query => $document });
is(run_pipeline('limited')->{out}, 'success|2|2|0', 'GraphQL: a used-up quota is waited for');
# what is no GraphQL may have a member of that name
script('/no_graphql', '{"data": [1], "errors": [{"message": "row 7 has none"}]}');
declare('no_graphql', path => '/no_graphql', method => 'POST', records => '$.data[*]', body => { query => 'SELECT {ds}' });
is(run_pipeline('no_graphql')->{out}, 'success|1|1|0', 'other answers are not looked through');

# --------------------------------------------------------------- the same as COPY does

# Random files from pieces that matter, by several options.  What COPY loads, we read alike;
# where COPY refuses a file, we refuse a row or the file.
my $seed = $ENV{ETL_SEED} // 20261119;
srand $seed;
note "seed $seed";
my @FLAVOURS = (
	{ delimiter => ',', quote => '"', escape => '"', null => '' },
	{ delimiter => ';', quote => '"', escape => '\\', null => 'NULL' },
	{ delimiter => "\t", quote => "'", escape => "'", null => '\\N' },
	{ delimiter => '|', quote => '~', escape => '^', null => 'x' },
);
sub some { my (@of) = @_; return $of[ int rand @of ]; }

sub random_file
{
	my ($flavour, $columns) = @_;
	my $end = some("\n", "\n", "\r\n", "\r");
	my @pieces = (@$flavour{qw(delimiter quote quote escape null)}, 'a', 'bc', ' ', "\\", '"', 'ä', '表', "\x01", "\n", "\r\n");
	my $field = sub {
		my $kind = rand;
		return $flavour->{null} if $kind < 0.1;
		return some('a', 'bc', ' x ', '1.5', 'ö') if $kind < 0.3;
		return join '', map { some(@pieces) } 1 .. int rand 5 if $kind < 0.33;
		# properly quoted
		my $text = join '', map { some(@pieces, $end) } 0 .. int rand 6;
		$text =~ s/([\Q$flavour->{quote}$flavour->{escape}\E])/$flavour->{escape}$1/g;
		return $flavour->{quote} . $text . $flavour->{quote};
	};
	my @rows = map { join $flavour->{delimiter}, map { $field->() } 1 .. $columns + (rand() < 0.02 ? some(-1, 1) : 0) } 1 .. 1 + int rand 8;
	return join($end, @rows) . (rand() < 0.7 ? $end : '');
}

my $file = PostgreSQL::Test::Utils::tempdir() . '/random.csv';
my $session = session($node);
$session->query(<<'SQL');
SET client_min_messages = error;
CREATE TABLE copied (c1 text, c2 text, c3 text);
-- what COPY makes of a file, and what we do; NULL: refused
CREATE FUNCTION compare(path text, csv jsonb, columns text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_copy jsonb;
	by_us jsonb;
	said text;
	options jsonb := jsonb_build_object('csv', csv || jsonb_build_object('columns', columns, 'header', csv -> 'header'));
BEGIN
	TRUNCATE copied;
	BEGIN
		EXECUTE format('COPY copied (%s) FROM %L (FORMAT csv, DELIMITER %L, QUOTE %L, ESCAPE %L, NULL %L, HEADER %s)', array_to_string(columns, ', '), path,
			csv ->> 'delimiter', csv ->> 'quote', csv ->> 'escape', csv ->> 'null', csv ->> 'header');
		SELECT coalesce(jsonb_agg((SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(c)) WHERE key = ANY (columns)) ORDER BY c.ctid), '[]') INTO by_copy FROM copied c;
	EXCEPTION WHEN bad_copy_file_format THEN
		said := SQLERRM;
	END;
	BEGIN
		SELECT CASE WHEN bool_or(p.reason IS NOT NULL) THEN NULL ELSE coalesce(jsonb_agg(convert_from(p.record, 'UTF8')::jsonb ORDER BY p.record_number), '[]') END INTO by_us
		FROM etl._read_page(pg_read_binary_file(path), etl._check_format('csv', '$[*]', options)) p;
	EXCEPTION WHEN invalid_json_text OR bad_copy_file_format THEN
		by_us := NULL;
		-- a header that COPY skips may be all of a file that is cut short: not for us
		IF by_copy = '[]' AND SQLERRM ~ 'ends within a quoted field' THEN
			RETURN 'refused';
		END IF;
	END;
	RETURN CASE WHEN by_us IS NOT DISTINCT FROM by_copy THEN CASE WHEN by_copy IS NULL THEN 'refused' ELSE 'same' END
		ELSE format('COPY: %s %s, we: %s', by_copy, said, by_us) END;
END
$$;
SQL
my %verdicts;
foreach my $round (1 .. 600)
{
	my $flavour = { %{ some(@FLAVOURS) }, header => some(JSON::PP::true, JSON::PP::false) };
	my $columns = 1 + int rand 3;
	my $bytes = random_file($flavour, $columns);

	# COPY before PostgreSQL 18 takes this for the end of the data; a newline within a header is none of its business
	next if $bytes =~ /^\\\.[\r\n]*$/m;
	open(my $out, '>:raw', $file) or die $!;
	print $out $bytes;
	close $out;
	my $result = $session->query("SELECT compare(" . quoted($file) . ', ' . quoted($json->encode($flavour)) . ", '{" . join(',', map { "c$_" } 1 .. $columns) . "}')");
	my $verdict = $result->{out} =~ /^(same|refused)$/ ? $1 : 'different';
	diag('of ' . $json->encode($flavour) . ' ' . $json->encode(decode('UTF-8', $bytes)) . "\n$result->{out}$result->{err}") if $verdict eq 'different';
	$verdicts{$verdict}++;
}
is($verdicts{different} // 0, 0, 'random files are read as COPY reads them');
cmp_ok($verdicts{same} // 0, '>', 250, 'many of them are read');
cmp_ok($verdicts{refused} // 0, '>', 50, 'and many are refused');
note join ', ', map { "$verdicts{$_} $_" } sort keys %verdicts;

is(value($node, 'SELECT count(*) FROM etl.loads WHERE fetched <> loaded + quarantined'), 0, 'fetched = loaded + quarantined for every load');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
