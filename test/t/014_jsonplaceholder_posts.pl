# Template jsonplaceholder_posts: every answer is kept and appended, posts are trimmed, and
# a bad post is counted, warned about and never lost.
use strict;
use warnings;

use EtlTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1, conf => "timezone = 'Asia/Tokyo'");
my $url = $api->url;

run_sql($node, "SELECT etl.install('jsonplaceholder_posts', '{\"base_url\": \"$url\"}')");

sub run_day
{
	my ($day) = @_;
	my $result = run_sql($node, "SELECT state, fetched, loaded, quarantined, inserted, updated, deleted FROM etl_run(date '2026-11-$day')", may_fail => 1);

	return $result->{out} . ($result->{state} eq '00000' ? '' : $result->{err});
}

# Raw records, processed ones and rejected ones, of all intervals.
sub counts
{
	return value($node, <<SQL);
SELECT (SELECT count(*) FROM raw.vr_jsonplaceholder_posts), (SELECT count(*) FROM jsonplaceholder.processed_data), (SELECT count(*) FROM jsonplaceholder.rejected_posts)
SQL
}

my $STATE = "SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM jsonplaceholder.processed_data p";

# --------------------------------------------------------------------------- good posts

is(run_day('19'), 'success|100|100|0|100|0|0', 'the first run');
is(counts(), '100|100|0', 'all posts are processed');
is(value($node, <<SQL), 0, 'each is its post, trimmed, with user');
SELECT count(*) FROM (
	SELECT (payload ->> 'userId')::integer, btrim(payload ->> 'title', E' \\t\\r\\n'), btrim(payload ->> 'body', E' \\t\\r\\n') FROM raw.vr_jsonplaceholder_posts
	EXCEPT ALL SELECT user_id, title, body FROM jsonplaceholder.processed_data) missing
SQL
cmp_ok(value($node, "SELECT count(*) FROM raw.vr_jsonplaceholder_posts WHERE payload ->> 'title' ~ '^\\s|\\s\$' OR payload ->> 'body' ~ '^\\s|\\s\$'"), '>', 10, 'the API sent white space around some');
is(value($node, "SELECT count(*) FROM jsonplaceholder.processed_data WHERE title ~ '^\\s|\\s\$' OR body ~ '^\\s|\\s\$'"), 0, 'none of it is left');
is(value($node, 'SELECT count(*) FROM jsonplaceholder.processed_data WHERE processed_at IS NULL OR processed_at < now() - interval \'5 minutes\' OR processed_at > now()'), 0, 'processed_at is when it was, in any time zone');
is(value($node, "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'jsonplaceholder' AND table_name = 'processed_data' AND column_name IN ('id', 'user_id', 'title', 'body', 'processed_at')"),
	'id bigint, user_id integer, title text, body text, processed_at timestamp with time zone', 'the columns are as promised');
is(value($node, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'jsonplaceholder' AND tablename = 'processed_data' AND indexdef ~ '\\((processed_at|user_id)\\)'"), 2, 'time and user are indexed');

# Appended, never overwritten: neither by the next interval, nor by the same one again, nor
# by two of them within a second.
my $before = value($node, $STATE);
is(run_day('20'), 'success|100|100|0|100|0|0', 'the next interval');
is(run_day('19'), 'success|100|100|0|100|0|0', 'the first again');
is(run_day('19'), 'success|100|100|0|100|0|0', 'and at once again');
is(counts(), '400|400|0', 'each answer is added');
is(value($node, "$STATE WHERE p.id <= 100"), $before, 'what was there is untouched');
is(value($node, "SELECT count(*), count(DISTINCT load_id) FROM etl.loads WHERE state = 'published'"), '4|4', 'each answer is a load of its own');
is(value($node, 'SELECT count(*) FROM etl.check_results WHERE NOT passed'), 0, 'nothing to warn about');

# ---------------------------------------------------------------------------- bad posts

# Bytes as the API sends them: good ones are g.
my @posts = (
	[ g => '{"userId": 1, "id": 1, "title": " a title\t", "body": "\r\n a body \n", "extra": {"x": 1}}' ],
	[ b => '{"id": 2, "title": "no user", "body": "b"}' ],
	[ b => '{"userId": null, "id": 3, "title": "null user", "body": "b"}' ],
	[ b => '{"userId": "1", "id": 4, "title": "text user", "body": "b"}' ],
	[ b => '{"userId": 1.5, "id": 5, "title": "half a user", "body": "b"}' ],
	[ b => '{"userId": 1180591620717411303424, "id": 6, "title": "2^70 users", "body": "b"}' ],
	[ b => '{"userId": 7, "id": 7, "title": "", "body": "empty title"}' ],
	[ b => '{"userId": 8, "id": 8, "title": " \n\t ", "body": "blank title"}' ],
	[ b => '{"userId": 9, "id": 9, "title": 9, "body": "number title"}' ],
	[ b => '{"userId": 10, "id": 10, "title": "no body"}' ],
	[ b => '{"userId": 11, "id": 11, "title": "null body", "body": null}' ],
	[ b => '{"userId": 12, "id": 12, "title": "blank body", "body": "  "}' ],
	[ b => '"no object"' ],
	[ b => '[1, 2]' ],
	[ b => 'null' ],
	[ b => '{}' ],
	[ q => '{"userId": 13, "id": 13, "title": "NUL \u0000", "body": "b"}' ],
	[ q => '{"userId": 14, "id": 14, "title": "broken" "body": "b"}' ],
	[ g => '{"userId": 15, "id": 15, "title": "Ünïcode, \"quotes\", 50 %", "body": "\\u00e9\\\\u0000 \ud83d\ude00"}' ],
	[ g => '{"userId": 2147, "id": 16, "title": "e1", "body": "last"}' ],
);
my %number;
$number{ $_->[0] }++ foreach @posts;

sub post_bytes { my ($bytes) = @_; $api->{http}->request('POST', "$url/control/posts", { content => $bytes })->{success} or BAIL_OUT('posts'); return; }

post_bytes('[' . join(",\n", map { $_->[1] } @posts) . ']');
my $fetched = scalar @posts;
is(run_day('21'), join('|', 'success', $fetched, $fetched - $number{q}, $number{q}, $number{g}, 0, 0), 'bad posts do not stop the good ones');
is(value($node, "SELECT user_id, title, body FROM jsonplaceholder.processed_data WHERE id > 400 ORDER BY user_id"),
	qq(1|a title|a body\n15|Ünïcode, "quotes", 50 %|é\\u0000 😀\n2147|e1|last), 'the good ones are as they should be');
is(value($node, 'SELECT count(*) FROM jsonplaceholder.rejected_posts'), $number{b}, 'the bad ones are kept, to be looked at');
is(value($node, <<SQL), 0, 'raw is processed and rejected, without a rest');
SELECT count(*) FROM raw.vr_jsonplaceholder_posts r
WHERE (SELECT count(*) FROM jsonplaceholder.processed_data p WHERE (p.load_id, p.slice, p.record_number) = (r.load_id, r.slice, r.record_number))
	+ (SELECT count(*) FROM jsonplaceholder.rejected_posts p WHERE (p.load_id, p.slice, p.record_number) = (r.load_id, r.slice, r.record_number)) <> 1
SQL
is(value($node, "SELECT string_agg(convert_from(record, 'UTF8'), E'\\n' ORDER BY record_number) FROM etl.quarantine"), join("\n", map { $_->[1] } grep { $_->[0] eq 'q' } @posts),
	'what cannot be jsonb is in quarantine, as it came');
my $run = value($node, 'SELECT max(run_id) FROM etl.runs');
is(value($node, "SELECT severity, passed, figure FROM etl.check_results WHERE run_id = $run AND check_name = 'rejected_posts'"), "warn|f|$number{b}", 'they are counted');
cmp_ok(value($node, "SELECT count(*) FROM etl.log WHERE run_id = $run AND level = 'WARN' AND message ~ 'rejected_posts.*$number{b} '"), '>=', 1, 'the log warns of them, with the number');
cmp_ok(value($node, "SELECT count(*) FROM etl.log WHERE run_id = $run AND level = 'WARN' AND message ~ '$number{q} of $fetched records were quarantined'"), '>=', 1, 'and of those in quarantine');
is(value($node, "SELECT count(*) FROM etl.log WHERE run_id = $run AND level = 'ERROR'"), 0, 'it is no error');

# An empty answer is a success, no answer is none.
post_bytes('[]');
is(run_day('22'), 'success|0|0|0|0|0|0', 'no posts');
post_bytes('[{"userId": 1, "id": 1, "title": "cut off');
my $state = value($node, $STATE);
my $result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-23')", may_fail => 1, seconds => 120);
is_failure($result, '22032', 'an answer that is cut off');
is(value($node, $STATE), $state, 'and changes nothing');
post_bytes('{"message": "error"}');
$result = run_sql($node, "SELECT state FROM etl_run(date '2026-11-23')", may_fail => 1, seconds => 120);
is_failure($result, '22032', 'an error that calls itself a success');
is(value($node, $STATE), $state, 'it changes nothing either');
$api->control('DELETE', 'posts');
is(run_day('23'), 'success|100|100|0|100|0|0', 'the API is well again');
is(value($node, 'SELECT count(*) FROM etl.loads WHERE fetched <> loaded + quarantined'), 0, 'fetched = loaded + quarantined for every load');
is(value($node, 'SELECT count(*) - (SELECT count(*) FROM raw.vr_jsonplaceholder_posts) FROM raw.jsonplaceholder_posts'), 0, 'nothing that was loaded is hidden or lost');

# Installed again: nothing is lost, and it goes on.
run_sql($node, "SELECT etl.install('jsonplaceholder_posts', '{\"base_url\": \"$url\"}')");
$before = value($node, 'SELECT count(*) FROM jsonplaceholder.processed_data');
is(run_day('23'), 'success|100|100|0|100|0|0', 'after installing it again it appends');
is(value($node, 'SELECT count(*) FROM jsonplaceholder.processed_data'), $before + 100, 'to what is there');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
