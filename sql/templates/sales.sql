-- Template sales: a CSV of order lines as a star schema with slowly changing dimensions.

INSERT INTO etl.template VALUES ('sales', 'A CSV of order lines as fact_sales, with products and customers as SCD type 2, orders, status and dates', $${
	"url": {"type": "text", "required": true, "pattern": "^https?://[^/?#]+[/?]", "example": "https://files.example/staging/raw_sales_{ds}", "description": "where the file is, over http or https; {ds} is the date of the run"},
	"token_file": {"type": "text", "description": "file in etl.secret_directory that holds an access token"},
	"token_env": {"type": "text", "description": "environment variable of the server that holds an access token"},
	"token": {"type": "text", "description": "an access token itself; dumps and statement logs then hold it"},
	"schema": {"type": "text", "default": "analytics", "pattern": "^[a-z_][a-z0-9_]*$", "example": "analytics", "description": "schema of the star schema"}
}$$);

CREATE FUNCTION etl._template_sales(pipeline text, options jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format($sql$
SELECT etl.create_pipeline(%1$L, retries => 3, retry_delay => '5 minutes',
	description => 'order lines of a CSV', replace => true);

CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS stg;
CREATE SCHEMA IF NOT EXISTS %3$I;

-- a line that is none goes to quarantine, and not into a cast
SELECT etl.add_extract(%1$L, %4$L, server => %1$L, path => %5$L, format => 'csv', record_schema => '{"type": "object",
	"required": ["ORDERDATE", "SHIPDATE", "ORDERNUMBER", "ORDERLINENUMBER", "PRODUCTCODE", "MSRP", "CUSTOMERID", "CUSTOMERNAME", "QUANTITYORDERED", "PRICEEACH", "SALES", "STATUS"],
	"properties": {
		"ORDERDATE": {"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}, "SHIPDATE": {"type": ["string", "null"], "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
		"ORDERNUMBER": {"type": "string", "pattern": "^[0-9]{1,18}$"}, "ORDERLINENUMBER": {"type": "string", "pattern": "^[0-9]{1,9}$"},
		"PRODUCTCODE": {"type": "string"}, "CUSTOMERID": {"type": "string", "pattern": "^[0-9]{1,18}$"}, "CUSTOMERNAME": {"type": "string"}, "STATUS": {"type": "string"},
		"MSRP": {"type": "string", "pattern": "^[0-9]{1,8}(\\.[0-9]+)?$"}, "QUANTITYORDERED": {"type": "string", "pattern": "^-?[0-9]{1,9}$"},
		"PRICEEACH": {"type": "string", "pattern": "^-?[0-9]{1,8}(\\.[0-9]+)?$"}, "SALES": {"type": "string", "pattern": "^-?[0-9]{1,8}(\\.[0-9]+)?$"}}}');

CREATE TABLE IF NOT EXISTS stg.%2$I (
	order_date date NOT NULL,
	ship_date date,
	order_number bigint,
	order_line_number integer,
	product_code text NOT NULL,
	product_line text,
	suggested_retail_price numeric(10,2),
	customer_id bigint NOT NULL,
	customer_name text,
	city text,
	country text,
	territory text NOT NULL,
	contact_lastname text,
	contact_firstname text,
	quantity_ordered integer,
	price_each numeric(10,2),
	sales numeric(10,2),
	status text,
	PRIMARY KEY (order_number, order_line_number)
);
CREATE TABLE IF NOT EXISTS %3$I.dim_products (
	product_pk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	product_code text NOT NULL,
	product_line text,
	suggested_retail_price numeric(10,2),
	price_each numeric(10,2),
	start_date date NOT NULL,
	end_date date NOT NULL,
	is_current boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS %3$I.dim_customers (
	customer_pk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer_id bigint NOT NULL,
	customer_name text,
	city text,
	country text,
	territory text,
	contact_lastname text,
	contact_firstname text,
	start_date date NOT NULL,
	end_date date NOT NULL,
	is_current boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS %3$I.dim_orders (
	order_pk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	order_number bigint NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS %3$I.dim_status (
	status_pk integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	status text NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS %3$I.dim_date (
	date_pk integer PRIMARY KEY,
	date date NOT NULL UNIQUE,
	year integer NOT NULL,
	quarter integer NOT NULL,
	month integer NOT NULL,
	day integer NOT NULL,
	week integer NOT NULL,
	day_of_week integer NOT NULL,
	is_weekend boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS %3$I.fact_sales (
	order_number bigint,
	order_line_number integer,
	order_pk bigint NOT NULL REFERENCES %3$I.dim_orders DEFERRABLE INITIALLY DEFERRED,
	product_pk bigint NOT NULL REFERENCES %3$I.dim_products DEFERRABLE INITIALLY DEFERRED,
	customer_pk bigint NOT NULL REFERENCES %3$I.dim_customers DEFERRABLE INITIALLY DEFERRED,
	status_pk integer NOT NULL REFERENCES %3$I.dim_status DEFERRABLE INITIALLY DEFERRED,
	order_date_pk integer NOT NULL REFERENCES %3$I.dim_date DEFERRABLE INITIALLY DEFERRED,
	ship_date_pk integer REFERENCES %3$I.dim_date DEFERRABLE INITIALLY DEFERRED,
	quantity_ordered integer,
	price_each numeric(10,2),
	sales numeric(10,2),
	PRIMARY KEY (order_number, order_line_number)
);

-- the last of the lines of one number in a file counts
CREATE OR REPLACE VIEW stg.%6$I AS
	SELECT DISTINCT ON (order_number, order_line_number)
		   (payload ->> 'ORDERDATE')::date AS order_date, (payload ->> 'SHIPDATE')::date AS ship_date, (payload ->> 'ORDERNUMBER')::bigint AS order_number,
		   (payload ->> 'ORDERLINENUMBER')::integer AS order_line_number, payload ->> 'PRODUCTCODE' AS product_code, payload ->> 'PRODUCTLINE' AS product_line,
		   (payload ->> 'MSRP')::numeric(10,2) AS suggested_retail_price, (payload ->> 'CUSTOMERID')::bigint AS customer_id, payload ->> 'CUSTOMERNAME' AS customer_name,
		   payload ->> 'CITY' AS city, payload ->> 'COUNTRY' AS country, COALESCE(nullif(payload ->> 'TERRITORY', ''), 'not specified') AS territory,
		   payload ->> 'CONTACTLASTNAME' AS contact_lastname, payload ->> 'CONTACTFIRSTNAME' AS contact_firstname, (payload ->> 'QUANTITYORDERED')::integer AS quantity_ordered,
		   (payload ->> 'PRICEEACH')::numeric(10,2) AS price_each, (payload ->> 'SALES')::numeric(10,2) AS sales, payload ->> 'STATUS' AS status
	FROM raw.%7$I WHERE data_interval_start = etl.data_interval_start()
	ORDER BY order_number, order_line_number, load_id DESC, slice DESC, record_number DESC;

-- a product with several prices on one day: that of the later order and line is the day's
CREATE OR REPLACE VIEW %3$I.txf_dim_products AS
	SELECT DISTINCT ON (product_code, order_date) product_code, product_line, suggested_retail_price, price_each, order_date
	FROM stg.%2$I ORDER BY product_code, order_date, order_number DESC, order_line_number DESC;
CREATE OR REPLACE VIEW %3$I.txf_dim_customers AS
	SELECT DISTINCT ON (customer_id, order_date) customer_id, customer_name, city, country, territory, contact_lastname, contact_firstname, order_date
	FROM stg.%2$I ORDER BY customer_id, order_date, order_number DESC, order_line_number DESC;
CREATE OR REPLACE VIEW %3$I.txf_dim_orders AS SELECT DISTINCT order_number FROM stg.%2$I;
CREATE OR REPLACE VIEW %3$I.txf_dim_status AS SELECT DISTINCT status FROM stg.%2$I WHERE status IS NOT NULL;
CREATE OR REPLACE VIEW %3$I.txf_dim_date AS
	SELECT to_char(d, 'YYYYMMDD')::integer AS date_pk, d::date AS date, extract(year FROM d)::integer AS year, extract(quarter FROM d)::integer AS quarter,
		   extract(month FROM d)::integer AS month, extract(day FROM d)::integer AS day, extract(week FROM d)::integer AS week,
		   extract(isodow FROM d)::integer AS day_of_week, extract(isodow FROM d) >= 6 AS is_weekend
	FROM (SELECT min(order_date) AS first, max(greatest(order_date, ship_date)) AS last FROM stg.%2$I) s, generate_series(first::timestamp, last::timestamp, '1 day') d;
-- the version of product and customer that held on the order's date; the price is the line's
CREATE OR REPLACE VIEW %3$I.txf_fact_sales AS
	SELECT s.order_number, s.order_line_number, o.order_pk, p.product_pk, c.customer_pk, t.status_pk,
		   od.date_pk AS order_date_pk, sd.date_pk AS ship_date_pk, s.quantity_ordered, s.price_each, s.sales
	FROM stg.%2$I s
	LEFT JOIN %3$I.dim_orders o ON o.order_number = s.order_number
	LEFT JOIN %3$I.dim_products p ON p.product_code = s.product_code AND s.order_date >= p.start_date AND s.order_date < p.end_date
	LEFT JOIN %3$I.dim_customers c ON c.customer_id = s.customer_id AND s.order_date >= c.start_date AND s.order_date < c.end_date
	LEFT JOIN %3$I.dim_status t ON t.status = s.status
	LEFT JOIN %3$I.dim_date od ON od.date = s.order_date
	LEFT JOIN %3$I.dim_date sd ON sd.date = s.ship_date;

SELECT etl.add_load(%1$L, %8$L, mode => 'incremental', key => '{order_number,order_line_number}');
-- histories are those of all lines known: a later file may bring earlier dates
SELECT etl.add_load(%1$L, '%3$s.dim_products', mode => 'scd2', key => '{product_code}', options => '{"effective_at": "order_date", "whole_history": true, "open_end": "9999-12-31",
	"columns": {"surrogate_key": "product_pk", "valid_from": "start_date", "valid_to": "end_date", "version": null}}');
SELECT etl.add_load(%1$L, '%3$s.dim_customers', mode => 'scd2', key => '{customer_id}', options => '{"effective_at": "order_date", "whole_history": true, "open_end": "9999-12-31",
	"columns": {"surrogate_key": "customer_pk", "valid_from": "start_date", "valid_to": "end_date", "version": null}}');
SELECT etl.add_load(%1$L, '%3$s.dim_orders', mode => 'full', key => '{order_number}');
SELECT etl.add_load(%1$L, '%3$s.dim_status', mode => 'full', key => '{status}');
SELECT etl.add_load(%1$L, '%3$s.dim_date', mode => 'full', key => '{date_pk}');
SELECT etl.add_load(%1$L, '%3$s.fact_sales', mode => 'full', key => '{order_number,order_line_number}');

SELECT etl.add_check(%1$L, '%3$s.fact_sales', 'row_count_equals', '{"to": "%9$s"}');
SELECT etl.add_check(%1$L, '%3$s.dim_products', 'unique', '{"column": "product_code"}', filter => 'is_current');
SELECT etl.add_check(%1$L, '%3$s.dim_customers', 'unique', '{"column": "customer_id"}', filter => 'is_current');
SELECT etl.add_check(%1$L, %8$L, 'expression', '{"expression": "ship_date >= order_date"}', name => 'shipped_after_order', severity => 'warn');
$sql$,
		pipeline, pipeline, options ->> 'schema', 'raw.' || pipeline, regexp_replace(options ->> 'url', '^https?://[^/?]+', ''),
		'txf_' || pipeline, 'vr_' || pipeline, 'stg.' || pipeline, 'stg.' || pipeline)
$function$;
COMMENT ON FUNCTION etl._template_sales(text, jsonb) IS 'the SQL of template sales';
