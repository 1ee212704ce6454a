# Template sales: the same tables on every run, each fact at the version of its product and
# customer on its order's date, and no history that depends on the order of files.
use strict;
use warnings;

use EtlTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $api = EtlTest::Api->start;
my $node = make_node('main', preload => 1);
my $url = $api->url;

# Order lines over sixty days: prices that go up and come back, a product with two prices
# on one day, a customer who moves, territories that are not given.
my (@lines, %held);
for my $order (1 .. 120)
{
	my $day = int(($order * 7) % 60);
	my $customer = $order % 13;
	for my $line (1 .. 1 + $order % 4)
	{
		my $product = ($order * 3 + $line) % 17;
		push @lines, {
			ORDERDATE => sprintf('2024-%02d-%02d', 1 + int($day / 30), 1 + $day % 30 - ($day >= 30 && $day % 30 == 29 ? 1 : 0)),
			SHIPDATE => $order % 11 ? sprintf('2024-04-%02d', 1 + $day % 30) : undef,
			ORDERNUMBER => 10000 + $order, ORDERLINENUMBER => $line, PRODUCTCODE => "P$product", PRODUCTLINE => $product % 2 ? 'Cars, old' : 'Ships',
			MSRP => 50 + $product, CUSTOMERID => 900 + $customer, CUSTOMERNAME => "Customer \"$customer\"",
			CITY => $customer == 5 && $day > 30 ? 'Berlin' : 'Paris', COUNTRY => 'FR', TERRITORY => $customer % 3 ? 'EMEA' : undef,
			CONTACTLASTNAME => "Last$customer", CONTACTFIRSTNAME => 'Ada', QUANTITYORDERED => $line, PRICEEACH => 10 + ($order * $line) % 3 . '.50',
			SALES => sprintf('%.2f', $line * (10.5 + ($order * $line) % 3)), STATUS => $order % 5 ? 'Shipped' : 'On Hold',
		};
	}
}

sub put { my ($name, @rows) = @_; $api->control('POST', 'datasets', { name => $name, records => \@rows }); return; }
put('all', @lines);
put('2024-06-01', grep { $_->{ORDERNUMBER} % 2 } @lines);
put('2024-06-02', grep { !($_->{ORDERNUMBER} % 2) } @lines);

sub install
{
	my ($schema, $file) = @_;
	run_sql($node, "SELECT etl.install('sales', '{\"url\": \"$url/datasets/$file?style=csv&per_page=100000\", \"schema\": \"$schema\"}', pipeline => '$schema')");
	return;
}
sub run_day { my ($pipeline, $day) = @_; return run_sql($node, "SELECT state, fetched, quarantined FROM etl_run(date '$day', '$pipeline')", may_fail => 1)->{out}; }

# All that can be said of a schema without surrogate keys.
sub contents
{
	my ($schema) = @_;
	return value($node, <<SQL);
SELECT md5((SELECT string_agg(concat_ws('|', product_code, product_line, suggested_retail_price, price_each, start_date, end_date, is_current), E'\\n' ORDER BY product_code, start_date) FROM $schema.dim_products)
	|| (SELECT string_agg(concat_ws('|', customer_id, customer_name, city, country, territory, start_date, end_date, is_current), E'\\n' ORDER BY customer_id, start_date) FROM $schema.dim_customers)
	|| (SELECT string_agg(concat_ws('|', f.order_number, order_line_number, o.order_number, p.product_code, p.start_date, c.customer_id, c.start_date, status, order_date_pk, ship_date_pk, quantity_ordered, f.price_each, sales), E'\\n'
			ORDER BY f.order_number, order_line_number)
		FROM $schema.fact_sales f JOIN $schema.dim_orders o USING (order_pk) JOIN $schema.dim_products p USING (product_pk) JOIN $schema.dim_customers c USING (customer_pk) JOIN $schema.dim_status s USING (status_pk)))
SQL
}

install('one', 'all');
my $count = @lines;
is(run_day('one', '2024-06-01'), "success|$count|0", 'the first run');
is(value($node, <<'SQL'), "$count|120|17|13|2", 'counts');
SELECT (SELECT count(*) FROM one.fact_sales), (SELECT count(*) FROM one.dim_orders), (SELECT count(*) FROM one.dim_products WHERE is_current),
	(SELECT count(*) FROM one.dim_customers WHERE is_current), (SELECT count(*) FROM one.dim_status)
SQL
is(value($node, 'SELECT sum(sales) FROM one.fact_sales'), sprintf('%.2f', eval { my $sum = 0; $sum += $_->{SALES} for @lines; $sum }), 'the sum of sales');
is(value($node, q{SELECT count(*) FROM one.dim_customers WHERE customer_id = 905}), 2, 'a customer who moved has two versions');
is(value($node, q{SELECT string_agg(DISTINCT territory, ', ' ORDER BY territory) FROM one.dim_customers}), 'EMEA, not specified', 'no territory is said so');
is(value($node, q{SELECT count(*) FROM one.dim_products WHERE is_current <> (end_date = '9999-12-31')}), 0, 'open versions end at 9999-12-31');

# By other means: the day's price is that of the day's last line, a version is a run of days
# with one price.
is(value($node, <<'SQL'), 0, 'versions of products are what the lines say');
WITH line AS (SELECT payload ->> 'PRODUCTCODE' AS code, (payload ->> 'ORDERDATE')::date AS day, (payload ->> 'PRICEEACH')::numeric AS price,
		(payload ->> 'ORDERNUMBER')::integer AS order_number, (payload ->> 'ORDERLINENUMBER')::integer AS line FROM raw.vr_one),
daily AS (SELECT code, day, price FROM line l WHERE NOT EXISTS (SELECT FROM line o WHERE o.code = l.code AND o.day = l.day AND (o.order_number, o.line) > (l.order_number, l.line))),
changed AS (SELECT code, day, price FROM (SELECT *, lag(price) OVER (PARTITION BY code ORDER BY day) AS before FROM daily) d WHERE price IS DISTINCT FROM before),
version AS (SELECT code, price, day, lead(day, 1, date '9999-12-31') OVER (PARTITION BY code ORDER BY day) AS until FROM changed)
SELECT count(*) FROM (
	(SELECT code, price, day, until FROM version EXCEPT SELECT product_code, price_each, start_date, end_date FROM one.dim_products) UNION ALL
	(SELECT product_code, price_each, start_date, end_date FROM one.dim_products EXCEPT SELECT code, price, day, until FROM version)) d
SQL
is(value($node, <<'SQL'), 0, 'each fact is at the versions of its date');
SELECT count(*) FROM one.fact_sales f JOIN one.dim_products p USING (product_pk) JOIN one.dim_customers c USING (customer_pk) JOIN one.dim_date d ON d.date_pk = f.order_date_pk
WHERE d.date < p.start_date OR d.date >= p.end_date OR d.date < c.start_date OR d.date >= c.end_date
SQL
cmp_ok(value($node, 'SELECT count(*) FROM one.fact_sales f JOIN one.dim_products p USING (product_pk) WHERE f.price_each <> p.price_each'), '>', 0, 'a fact keeps its own price where the day had several');

my $before = contents('one');
is(run_day('one', '2024-06-01'), "success|$count|0", 'the same again');
is(run_day('one', '2024-06-02'), "success|$count|0", 'the same file the day after');
is(value($node, q{SELECT inserted + updated + deleted FROM etl.task_runs t JOIN etl.runs r USING (run_id) WHERE t.task = 'one.fact_sales' ORDER BY run_id DESC LIMIT 1}), 0, 'changes no fact');
is(contents('one'), $before, 'nothing is doubled, nothing lost');

# A file a day, in either order: the orders of the first may be later than those of the second.
install('forth', '{ds}');
install('back', '{ds}');
run_day('forth', $_) for '2024-06-01', '2024-06-02';
run_day('back', $_) for '2024-06-02', '2024-06-01', '2024-06-02';
is(contents('forth'), $before, 'two files are as one');
is(contents('back'), $before, 'in any order');

# A line that is none, and one that is corrected.
put('2024-06-03', { %{ $lines[0] }, QUANTITYORDERED => 77 }, { %{ $lines[1] }, SALES => '1,000.00' });
is(run_day('forth', '2024-06-03'), 'success|2|1', 'a number that is none is quarantined');
is(value($node, "SELECT quantity_ordered FROM forth.fact_sales WHERE order_number = $lines[0]{ORDERNUMBER} AND order_line_number = $lines[0]{ORDERLINENUMBER}"), 77, 'a corrected line takes the place of the old one');
is(value($node, 'SELECT count(*) FROM forth.fact_sales'), $count, 'and only that');
is(value($node, 'SELECT count(*) FROM etl.check_results WHERE NOT passed'), 0, 'every check passed');
done_testing();
