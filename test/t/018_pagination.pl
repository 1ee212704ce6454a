# How one page leads to the next: every place where "auto" looks, cursors of every kind and
# what ends them, has_more, short pages, links to other hosts, and circles.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;
my $json = JSON::PP->new->canonical->allow_nonref;

run_sql($node, "CREATE SERVER api FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2')");

# Answers by target, a page each: a body, or a whole answer.
sub answer
{
	my ($path, %pages) = @_;

	# the ones with a query first: the bare path is for whatever is left
	foreach my $query (sort { $b cmp $a } keys %pages)
	{
		my $page = $pages{$query};

		$page = { body => ref $page ? $json->encode($page) : $page } unless ref $page eq 'HASH' && exists $page->{body};
		$api->control('PUT', 'routes', { path => "$path$query", responses => [$page] });
	}
	return;
}

sub with_headers { my ($body, %headers) = @_; return { body => $json->encode($body), headers => \%headers }; }

sub declare
{
	my ($name, $pagination, %options) = @_;
	my $path = $options{path} // "/$name";
	my $arguments = $options{arguments} // '';
	my $records = $options{records} // '$.data[*]';
	my $retries = $options{retries} // 0;

	run_sql($node, <<SQL);
SELECT etl.create_pipeline('$name', replace => true, retries => $retries, retry_delay => '0');
SELECT etl.add_extract('$name', '$name.raw', '@{[ $options{server} // 'api' ]}', '$path', records => '$records', pagination => '$pagination' $arguments);
SQL
	return;
}

sub run_day
{
	my ($name, $day) = @_;
	my $result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-@{[ $day // '10' ]}', '$name')", may_fail => 1);

	return $result->{state} eq '00000' ? $result->{out} : $result->{err};
}

sub ids { my ($name) = @_; return value($node, "SELECT coalesce(string_agg(payload ->> 'id', ',' ORDER BY slice, record_number), '') FROM $name.vr_raw"); }
sub asked { my ($path) = @_; return map { $_->{target} } $api->requests($path); }
sub page { my (@ids) = @_; return map { { id => $_ } } @ids; }
sub logged { my ($name) = @_; return value($node, "SELECT coalesce(string_agg(level || ' ' || message, '; ' ORDER BY log_id), '') FROM etl.log WHERE pipeline = '$name' AND message LIKE 'pagination%'"); }

# -------------------------------------------------------------------------- auto: places

# A body with a value at a path such as links.next.href.
sub body_with
{
	my ($path, $value, @ids) = @_;
	my %body = (data => [ page(@ids) ]);
	my $at = \%body;
	my @names = split /\//, $path;
	my $last = pop @names;

	$at = $at->{$_} = {} foreach @names;
	$at->{$last} = $value;
	return \%body;
}

my %links = map { $_ => 1 } qw(next links/next links/next/href _links/next/href _links/next next_page_url nextPageUrl next_url paging/next
  pagination/next_url meta/next info/next @odata.nextLink);
my %tokens = ('next_cursor' => 'cursor', 'nextCursor' => 'cursor', 'meta/next_cursor' => 'cursor', 'pagination/next_cursor' => 'cursor',
	'response_metadata/next_cursor' => 'cursor', 'paging/cursors/after' => 'after', 'paging/next/after' => 'after', 'nextPageToken' => 'pageToken',
	'next_page_token' => 'page_token', 'next_token' => 'next_token', 'continuation_token' => 'continuation_token');
my $number = 0;
foreach my $place (sort keys %links)
{
	my $name = 'link_' . ++$number;

	answer("/$name", '?p=3' => { data => [ page(5) ] }, '?p=2' => body_with($place, "$url/$name?p=3", 3, 4), '' => body_with($place, "/$name?p=2", 1, 2));
	declare($name, '{"type": "auto"}');
	is(run_day($name) . ' ' . ids($name), 'success 1,2,3,4,5', "auto: a link at $place");
	is(logged($name), 'INFO pagination "auto" is of type next_url', "$place: the log says so");
}
foreach my $place (sort keys %tokens)
{
	my $name = 'token_' . ++$number;
	my $parameter = $tokens{$place};

	answer("/$name", "?$parameter=b%2B2" => body_with($place, undef, 4), "?$parameter=a%3D%3D" => body_with($place, 'b+2', 3), '' => body_with($place, 'a==', 1, 2));
	declare($name, '{"type": "auto"}');
	is(run_day($name) . ' ' . ids($name), 'success 1,2,3,4', "auto: a token at $place goes back in $parameter");
}
answer('/header', '?p=2' => [ page(3) ], '' => with_headers([ page(1, 2) ], Link => "<$url/header?p=2>; rel=\"next\""));
declare('header', '{"type": "auto"}', records => '$[*]');
is(run_day('header') . ' ' . ids('header'), 'success 1,2,3', 'auto: a Link header');

answer('/nothing', '' => { data => [ page(1, 2) ], next => undef, page => 1, count => 2 });
declare('nothing', '{"type": "auto"}');
is(run_day('nothing') . ' ' . ids('nothing'), 'success 1,2', 'auto: nothing leads on');
like(logged('nothing'), qr/^WARN pagination "auto": no page leads on in any known way/, 'which is a warning');
foreach my $what ([ number => 2 ], [ text => 'page two' ], [ object => { page => 2 } ], [ list => ['/x'] ], [ empty => '' ], [ false => JSON::PP::false ])
{
	my ($name, $value) = @$what;

	answer("/next_$name", '' => { data => [ page(1) ], next => $value });
	declare("next_$name", '{"type": "auto"}');
	is(run_day("next_$name") . ' ' . ids("next_$name"), 'success 1', "auto: \"next\" is no link but: $name");
	like(logged("next_$name"), qr/^WARN/, 'which is a warning');
}

# The first page of an item that has but one says nothing about the others.
run_sql($node, "CREATE SCHEMA shops; CREATE TABLE shops.names AS SELECT * FROM (VALUES ('a'), ('b'), ('c'), ('d')) v(shop)");
answer('/shop_a', '' => { data => [ page(1) ] });
answer('/shop_b', '?p=3' => { data => [ page(4) ] }, '?p=2' => { data => [ page(3) ], next => '/shop_b?p=3' }, '' => { data => [ page(2) ], next => '/shop_b?p=2' });
answer('/shop_c', '' => { data => [] });
answer('/shop_d', '?p=2' => { data => [ page(6) ] }, '' => { data => [ page(5) ], next => '/shop_d?p=2' });
declare('shops', '{"type": "auto"}', path => '/shop_{shop}', arguments => q(, for_each => 'shops.names'));
is(run_day('shops'), 'success', 'auto for several items');
is(value($node, "SELECT string_agg(payload ->> 'id', ',' ORDER BY payload ->> 'id') FROM shops.vr_raw"), '1,2,3,4,5,6', 'an item with one page does not make the others end at theirs');
is(logged('shops'), 'INFO pagination "auto" is of type next_url', 'it is found out once');
run_sql($node, "CREATE SERVER one FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url', retry_delay '10 ms', max_attempts '2', concurrency '1')");
declare('shops', '{"type": "auto"}', path => '/shop_{shop}', arguments => q(, for_each => 'shops.names'), server => 'one');
is(run_day('shops', '11'), 'success', 'one after another');
is(value($node, "SELECT string_agg(payload ->> 'id', ',' ORDER BY payload ->> 'id') FROM shops.vr_raw WHERE data_interval_start = '2026-11-11'"), '1,2,3,4,5,6', 'it is so, too');

# What was found out is kept with the load.
$api->control('POST', 'datasets', { name => 'kept', records => [ page(1 .. 45) ] });
$api->fault(match => '/datasets/kept', page => 4, fault => 'status_500', times => 2);
declare('kept', '{"type": "auto"}', path => '/datasets/kept');
like(run_day('kept'), qr/status 500/, 'auto: a later page fails');
is(run_day('kept'), 'success', 'the next run goes on');
is(ids('kept'), join(',', 1 .. 45), 'to the end');
is(scalar(my @kept = asked('/datasets/kept')), 3 + 2 + 2, 'from where it failed');
is(logged('kept'), 'INFO pagination "auto" is of type next_url', 'knowing what it is');

# Pages that have not changed lead on as they did.
declare('unchanged', '{"type": "auto"}', path => '/pages/unchanged?style=cursor&pages=4&per_page=3');
is(run_day('unchanged', '10'), 'success', 'auto: a token, with an ETag');
is(run_day('unchanged', '11'), 'success', 'and the next interval');
is(value($node, "SELECT string_agg(requests || ' ' || not_modified || ' ' || loaded, ', ' ORDER BY load_id) FROM etl.loads WHERE pipeline = 'unchanged'"), '4 0 12, 4 4 12', 'whose pages are all answered 304');

# Their headers tell when there is more by now, which their ETag need not know of.
sub answers { my ($path, $query, @answers) = @_; $api->control('PUT', 'routes', { path => "$path$query", responses => \@answers }); return; }
sub tagged { my ($tag, $body, %headers) = @_; return { body => $json->encode($body), headers => { ETag => "\"$tag\"", %headers } }; }
my $last = { status => 200, body => $json->encode([ page(5) ]) };
answers('/grows', '?p=2', tagged('b', [ page(3, 4) ]), { status => 304, headers => { ETag => '"b"', Link => "<$url/grows?p=3>; rel=\"next\"" } });
answers('/grows', '?p=3', $last);
answers('/grows', '', tagged('a', [ page(1, 2) ], Link => "<$url/grows?p=2>; rel=\"next\""), { status => 304, headers => { ETag => '"a"' } });
declare('grows', '{"type": "link_header"}', records => '$[*]');
is(run_day('grows', '10') . ' ' . ids('grows'), 'success 1,2,3,4', 'pages with an ETag and a Link');
is(run_day('grows', '11'), 'success', 'the same pages, and another');
is(value($node, "SELECT string_agg(payload ->> 'id', ',' ORDER BY slice, record_number) FROM grows.vr_raw WHERE data_interval_start = '2026-11-11'"), '1,2,3,4,5', 'to which the Link of a 304 leads');
answers('/counted', '?page=1', tagged('a', [ page(1, 2) ], 'X-Total' => 4), { status => 304, headers => { ETag => '"a"', 'X-Total' => 5 } });
answers('/counted', '?page=2', tagged('b', [ page(3, 4) ], 'X-Total' => 4), { status => 304, headers => { ETag => '"b"', 'X-Total' => 5 } });
answers('/counted', '?page=3', { %$last, headers => { 'X-Total' => 5 } });
declare('counted', '{"type": "page_number", "total_header": "X-Total"}', records => '$[*]');
is(run_day('counted', '10') . ' ' . ids('counted'), 'success 1,2,3,4', 'pages with an ETag and a total');
is(run_day('counted', '11'), 'success', 'the same pages, and another');
is(value($node, "SELECT string_agg(payload ->> 'id', ',' ORDER BY (payload ->> 'id')::integer) FROM counted.vr_raw WHERE data_interval_start = '2026-11-11'"), '1,2,3,4,5', 'which the total of a 304 tells of');
# pages that have not changed are asked for at once as well
$api->control('POST', 'datasets', { name => 'planned', records => [ page(1 .. 95) ] });
declare('planned', '{"type": "page_number", "total": "$.total"}', path => '/datasets/planned');
is(run_day('planned', '10'), 'success', 'pages known beforehand');
$api->latency(40);
is(run_day('planned', '11'), 'success', 'the same, unchanged');
$api->latency(0);
is(value($node, "SELECT requests, not_modified, loaded FROM etl.loads WHERE pipeline = 'planned' ORDER BY load_id DESC LIMIT 1"), '10|10|95', 'are all answered 304');
cmp_ok($api->control('GET', 'stats')->{max_in_flight}, '>=', 8, 'many at once');

# ------------------------------------------------------------------------------- cursors

my $cursor = '{"type": "cursor", "cursor": "$.cursor", "parameter": "c"}';
foreach my $end ([ null => undef ], [ empty => '' ], [ false => JSON::PP::false ], [ zero => 0 ], [ object => {} ], [ list => [] ])
{
	my ($what, $value) = @$end;

	answer("/end_$what", '?c=x' => { data => [ page(3) ], cursor => $value }, '' => { data => [ page(1, 2) ], cursor => 'x' });
	declare("end_$what", $cursor);
	is(run_day("end_$what") . ' ' . ids("end_$what"), 'success 1,2,3', "a cursor that is $what ends it");
}
answer('/end_missing', '?c=x' => { data => [ page(3) ] }, '' => { data => [ page(1, 2) ], cursor => 'x' });
declare('end_missing', $cursor);
is(run_day('end_missing') . ' ' . ids('end_missing'), 'success 1,2,3', 'as one that is missing does');
answer('/numbers', '?c=12345678901234567890' => '{"data": [{"id": 4}]}', '?c=1.50' => '{"data": [{"id": 3}], "cursor": 12345678901234567890}', '?c=7' => '{"data": [{"id": 2}], "cursor": 1.50}',
	'' => '{"data": [{"id": 1}], "cursor": 7}');
declare('numbers', $cursor);
is(run_day('numbers') . ' ' . ids('numbers'), 'success 1,2,3,4', 'numbers as cursors keep their digits');
answer('/odd', '?c=%22%5C%2F%C3%A9%F0%9F%98%80%20%26%3D%3F%23%25' => '{"data": [{"id": 2}]}', '' => '{"data": [{"id": 1}], "cursor": "\\"\\\\\\/\\u00e9\\ud83d\\ude00 &=?#%"}');
declare('odd', $cursor);
is(run_day('odd') . ' ' . ids('odd'), 'success 1,2', 'a cursor is sent as what it says, encoded');

answer('/in_header', '?c=n2' => with_headers({ data => [ page(3) ] }, 'X-Next' => 'n3'), '?c=n3' => with_headers({ data => [ page(4) ] }, 'X-Next' => ''),
	'' => with_headers({ data => [ page(1, 2) ] }, 'X-Next' => 'n2'));
declare('in_header', '{"type": "cursor", "header": "X-Next", "parameter": "c"}');
is(run_day('in_header') . ' ' . ids('in_header'), 'success 1,2,3,4', 'a cursor in a header');

answer('/last', '?after=4' => { data => [] }, '?after=2' => { data => [ page(3, 4) ] }, '' => { data => [ page(1, 2) ] });
declare('last', '{"type": "cursor", "last_record": "$.id", "parameter": "after"}');
is(run_day('last') . ' ' . ids('last'), 'success 1,2,3,4', 'a cursor in the last record, until a page is empty');
answer('/last_more', '?after=2' => { data => [ page(3, 4) ], more => JSON::PP::false }, '' => { data => [ page(1, 2) ], more => JSON::PP::true });
declare('last_more', '{"type": "cursor", "last_record": "$.id", "parameter": "after", "has_more": "$.more"}');
is(run_day('last_more') . ' ' . ids('last_more'), 'success 1,2,3,4', 'or has_more says so');
answer('/last_without', '?after=2' => { data => [ { id => 3 }, { number => 4 } ] }, '' => { data => [ page(1, 2) ] });
declare('last_without', '{"type": "cursor", "last_record": "$.id", "parameter": "after"}');
like(run_day('last_without'), qr/22032:.*does not say where its last record stands.*HINT:.*last_record/s, 'a last record without one is no end');
answer('/last_items', '?after=i2' => { items => [] }, '' => { items => [ { node => { id => 1, key => { at => 'i1' } } }, { node => { id => 2, key => { at => 'i2' } } } ] });
declare('last_items', '{"type": "cursor", "last_record": "$.key.at", "parameter": "after"}', records => '$.items[*].node');
is(run_day('last_items') . ' ' . ids('last_items'), 'success 1,2', 'the record is what records says');

# ------------------------------------------------------------------- has_more, short pages

answer('/more', '?page=2' => { data => [ page(3) ], more => JSON::PP::true }, '?page=3' => { data => [], more => JSON::PP::true }, '?page=4' => { data => [ page(4, 5) ], more => JSON::PP::false },
	'?page=1' => { data => [ page(1, 2) ], more => JSON::PP::true });
declare('more', '{"type": "page_number", "has_more": "$.more", "size": 2}');
is(run_day('more') . ' ' . ids('more'), 'success 1,2,3,4,5', 'has_more: neither a short nor an empty page is the end when there is more');
answer('/more_ends', '?page=1' => { data => [ page(1, 2) ], more => 0 });
declare('more_ends', '{"type": "page_number", "has_more": "$.more"}');
is(run_day('more_ends') . ' ' . ids('more_ends'), 'success 1,2', 'has_more: 0 is false');
answer('/more_missing', '?page=1' => { data => [ page(1, 2) ] });
declare('more_missing', '{"type": "page_number", "has_more": "$.more"}');
like(run_day('more_missing'), qr/22032:.*does not say whether there is more.*HINT:.*has_more/s, 'has_more: missing, it is no end');
answer('/more_offset', '?limit=2&offset=3' => { data => [], more => JSON::PP::true }, '?limit=2&offset=2' => { data => [ page(3) ], more => JSON::PP::true }, '?limit=2&offset=0' => { data => [ page(1, 2) ], more => JSON::PP::true });
declare('more_offset', '{"type": "offset", "size": 2, "has_more": "$.more"}');
like(run_day('more_offset'), qr/HV000:.*pagination goes in a circle/, 'has_more: an empty page by offset leads nowhere, which is told');
answer('/more_cursor', '?c=b' => { data => [ page(2) ], cursor => 'c', more => JSON::PP::false }, '' => { data => [ page(1) ], cursor => 'b', more => JSON::PP::true });
declare('more_cursor', '{"type": "cursor", "cursor": "$.cursor", "parameter": "c", "has_more": "$.more"}');
is(run_day('more_cursor') . ' ' . ids('more_cursor'), 'success 1,2', 'has_more ends cursors that are always there');

answer('/short', '?page=2' => { data => [ page(3) ] }, '?page=1' => { data => [ page(1, 2) ] });
declare('short', '{"type": "page_number", "size": 2}');
is(run_day('short') . ' ' . ids('short'), 'success 1,2,3', 'a short page is the end');
is(scalar(my @short = asked('/short')), 2, 'no more is asked for');
answer('/capped', '?page=3' => { data => [] }, '?page=2' => { data => [ page(3, 4) ] }, '?page=1' => { data => [ page(1, 2) ] });
declare('capped', '{"type": "page_number", "size": 50}');
is(run_day('capped') . ' ' . ids('capped'), 'success 1,2,3,4', 'where the source caps the size, only an empty page is');
answer('/zero', '?page=0' => { data => [ page(1) ] }, '?page=1' => { data => [ page(2) ] }, '?page=2' => { data => [] });
declare('zero', '{"type": "page_number", "start": 0}');
is(run_day('zero') . ' ' . ids('zero'), 'success 1,2', 'pages can be counted from 0');
answer('/content', '?page=1' => { data => [ page(1) ] }, '?page=2' => { status => 204, body => '' });
declare('content', '{"type": "page_number", "size": 1}');
is(run_day('content') . ' ' . ids('content'), 'success 1', '204 is an empty page');
answer('/no_content', '' => { status => 204, body => '' });
declare('no_content', '{"type": "page_number", "total": "$.total", "has_more": "$.more"}');
is(run_day('no_content') . ' ' . ids('no_content'), 'success ', 'it says nothing, and need not');

# ------------------------------------------------------------------------------- circles

answer('/same', '?c=a' => { data => [ page(2) ], cursor => 'a' }, '' => { data => [ page(1) ], cursor => 'a' });
declare('same', $cursor);
like(run_day('same'), qr/HV000:.*pagination goes in a circle: the page after GET .*\/same\?c=a has been fetched already.*HINT:/s, 'the same cursor twice');
answer('/circle', '?c=a' => { data => [ page(2) ], cursor => 'b' }, '?c=b' => { data => [ page(3) ], cursor => 'a' }, '' => { data => [ page(1) ], cursor => 'a' });
declare('circle', $cursor);
like(run_day('circle'), qr/HV000:.*pagination goes in a circle: the page after GET .*\/circle\?c=b/, 'A, B, A');
answer('/links', '?p=2' => { data => [ page(2) ], next => '/links' }, '' => { data => [ page(1) ], next => '/links?p=2' });
declare('links', '{"type": "next_url"}');
like(run_day('links'), qr/HV000:.*pagination goes in a circle/, 'links back to the beginning');
answer('/itself', '' => { data => [ page(1) ], next => '/itself' });
declare('itself', '{"type": "next_url"}');
like(run_day('itself'), qr/HV000:.*pagination goes in a circle: GET .*\/itself gave the same page/, 'a link to itself');
answer('/ignored', '' => { data => [ page(1) ], cursor => 'x', time => 1 }, '?c=x' => { data => [ page(1) ], cursor => 'y', time => 2 }, '?c=y' => { data => [ page(1) ], cursor => 'z', time => 3 });
declare('ignored', $cursor, arguments => q(, key => '{$.id}'));
like(run_day('ignored'), qr/HV000:.*pagination goes in a circle: GET .*\/ignored\?c=x gave the same page/, 'the same records under ever new cursors');
answer('/zeros', '' => { data => [ { v => 0 }, { v => 0 } ], cursor => 'x' }, '?c=x' => { data => [ { v => 0 }, { v => 0 } ], cursor => 'y' }, '?c=y' => { data => [ { v => 0 } ], cursor => undef });
declare('zeros', $cursor);
is(run_day('zeros'), 'success', 'records without a key may well be the same');
is(value($node, 'SELECT count(*) FROM zeros.vr_raw'), 5, 'and all count');
declare('endless', '{"type": "link_header", "max_pages": 7}', path => '/fault/endless_pagination', records => '$[*]');
like(run_day('endless'), qr/54000:.*more than 7 pages: GET .* would be one too many.*HINT:.*max_pages/s, 'links without end');
is(scalar(my @endless = asked('/fault/endless_pagination')), 7, 'are followed as far as allowed');
run_day('endless');
is(scalar(@endless = asked('/fault/endless_pagination')), 14, 'what led there is not gone on with');

# --------------------------------------------------------------------------- other hosts

my $other = $api->control('GET', 'info')->{other_port};
$api->fault(match => '/pages/other', page => 1, fault => 'link_other_host');
run_sql($node, "CREATE SERVER far FOREIGN DATA WRAPPER etl_http OPTIONS (base_url '$url'); CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (auth 'bearer', token 's3cret')");
foreach my $type ('{"type": "link_header"}', '{"type": "next_url"}', '{"type": "auto"}')
{
	declare('far', $type, path => '/pages/other?pages=3&per_page=2', server => 'far');
	like(run_day('far'), qr/HV000:.*the next page after GET .* is on another host.*DETAIL:.*:$other.*HINT:.*next_hosts/s, "$type: a link to another host is refused");
}
is($api->control('GET', 'other_host')->{requests}, 0, 'nothing was sent there');
run_sql($node, "ALTER SERVER far OPTIONS (ADD next_hosts '127.0.0.1:$other')");
$api->heal;
$api->fault(match => '/pages/other', page => 1, fault => 'link_other_host', host => '127.0.0.1');
declare('far', '{"type": "next_url"}', path => '/pages/other?pages=1&per_page=2', server => 'far');
like(run_day('far'), qr/circle|success/, 'where next_hosts allows it');
is($api->control('GET', 'other_host')->{requests}, 1, 'a link is followed');
is($api->control('GET', 'other_host')->{with_authorization}, 0, 'without credentials');
foreach my $link ('file:///etc/passwd', 'http://127.0.0.1:1@evil.example/', '//evil.example/x', 'javascript:alert(1)', "http://user:pw\@127.0.0.1:$other/")
{
	answer('/bad_link', '' => { data => [ page(1) ], next => $link });
	declare('bad_link', '{"type": "next_url"}');
	like(run_day('bad_link'), qr/HV000:.*is on another host/, "a link to $link");
}

$node->stop;
done_testing();
