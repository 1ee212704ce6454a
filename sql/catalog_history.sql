-- What happened: runs, task runs and their attempts, loads and their slices, what was
-- rejected and what was checked.  History carries the names of what it is about and no
-- foreign key to the definitions: dropping a pipeline does not rewrite the past.  Nor do
-- these tables refer to each other: a parallel pg_restore loads them in any order.

CREATE SEQUENCE etl.run_id_seq;
CREATE TABLE etl.run (
	run_id				bigint PRIMARY KEY DEFAULT nextval('etl.run_id_seq'),
	pipeline			text NOT NULL,
	owner				name NOT NULL,
	data_interval_start timestamptz NOT NULL,
	data_interval_end	timestamptz NOT NULL,
	run_date			date NOT NULL,
	timezone			text NOT NULL,
	interval_is_open	boolean NOT NULL DEFAULT false,
	trigger				text NOT NULL CHECK (trigger IN ('manual', 'schedule', 'upstream', 'backfill', 'retry', 'reprocess', 'feed', 'clear')),
	state				text NOT NULL DEFAULT 'queued',
	request_id			bigint,
	caller_pid			integer,
	requested_by		name NOT NULL,
	retry_of			bigint,
	only_tasks			text[],
	priority			integer NOT NULL DEFAULT 0,
	waits_for			text,
	looked_at			timestamptz,
	queued_at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	started_at			timestamptz,
	ended_at			timestamptz,
	error_task			text,
	error_code			text,
	error_message		text,
	error_detail		text,
	error_hint			text,
	CHECK (data_interval_start < data_interval_end),
	CHECK ((state IN ('queued', 'running')) = (ended_at IS NULL))
);
COMMENT ON TABLE etl.run IS 'one row a run; read etl.runs';
COMMENT ON COLUMN etl.run.retry_of IS 'the run that this one does again: etl.retry, etl.clear';
COMMENT ON COLUMN etl.run.only_tasks IS 'the tasks to do, the others are skipped; NULL: all';
COMMENT ON COLUMN etl.run.waits_for IS 'which other run keeps this queued one from starting, as of looked_at; what else it waits for etl._queue tells';
-- One run of an interval at a time, whoever asks for it; another may wait until it is cancelled.
CREATE UNIQUE INDEX run_queued_interval ON etl.run (pipeline, data_interval_start) WHERE state = 'queued';
CREATE UNIQUE INDEX run_running_interval ON etl.run (pipeline, data_interval_start) WHERE state = 'running';
CREATE INDEX run_history ON etl.run (pipeline, data_interval_start, run_id);
CREATE INDEX run_request ON etl.run (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX run_active ON etl.run (pipeline, run_id) WHERE state IN ('queued', 'running');
CREATE INDEX run_ended ON etl.run (pipeline, ended_at);

CREATE SEQUENCE etl.task_run_id_seq;
CREATE TABLE etl.task_run (
	task_run_id		bigint PRIMARY KEY DEFAULT nextval('etl.task_run_id_seq'),
	run_id			bigint NOT NULL,
	task			text NOT NULL,
	kind			text NOT NULL CHECK (kind IN ('extract', 'publish', 'load', 'call', 'check', 'export')),
	position		integer NOT NULL,
	depends_on		text[] NOT NULL DEFAULT '{}',
	part_of			bigint,
	trigger_rule	text NOT NULL DEFAULT 'all_success' CHECK (trigger_rule IN ('all_success', 'all_done')),
	pool			text,
	state			text NOT NULL DEFAULT 'queued',
	attempt			integer NOT NULL DEFAULT 0,
	next_attempt_at timestamptz,
	overdue_at		timestamptz,
	worker_pid		integer,
	started_at		timestamptz,
	ended_at		timestamptz,
	requests		bigint,
	bytes			bigint,
	fetched			bigint,
	loaded			bigint,
	quarantined		bigint,
	inserted		bigint,
	updated			bigint,
	deleted			bigint,
	unchanged		bigint,
	error_code		text,
	error_message	text,
	error_detail	text,
	error_hint		text,
	UNIQUE (run_id, task)
);
COMMENT ON TABLE etl.task_run IS 'one row a task of a run; read etl.task_runs';
COMMENT ON COLUMN etl.task_run.part_of IS 'the task run whose attempts and transaction it shares; NULL: it has attempts of its own';
COMMENT ON COLUMN etl.task_run.overdue_at IS 'when the attempt under way has taken its task_timeout';
-- No index of what is active: with a handful of rows expected in it, it is joined by reading all of it
-- for each run, and a thousand runs take seconds.  Active task runs are found by their runs.

CREATE TABLE etl.task_attempt (
	task_run_id	  bigint NOT NULL,
	attempt		  integer NOT NULL,
	worker_pid	  integer NOT NULL,
	started_at	  timestamptz NOT NULL DEFAULT clock_timestamp(),
	ended_at	  timestamptz,
	state		  text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'success', 'failed', 'cancelled')),
	error_code	  text,
	error_message text,
	PRIMARY KEY (task_run_id, attempt)
);
COMMENT ON TABLE etl.task_attempt IS 'each attempt of a task run; committed before the attempt starts, so that a crash is counted';

CREATE TABLE etl.cancel_request (
	run_id		 bigint PRIMARY KEY,
	requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	requested_by name NOT NULL,
	reason		 text,
	timed_out	 boolean NOT NULL DEFAULT false,
	signalled_at timestamptz
);
COMMENT ON TABLE etl.cancel_request IS 'runs somebody asked to cancel; a table of its own, so that asking never waits for the run';

CREATE SEQUENCE etl.load_id_seq;
CREATE TABLE etl.load (
	load_id				bigint PRIMARY KEY DEFAULT nextval('etl.load_id_seq'),
	pipeline			text NOT NULL,
	owner				name NOT NULL,
	task				text NOT NULL,
	target_schema		name NOT NULL,
	target_name			name NOT NULL,
	data_interval_start timestamptz NOT NULL,
	data_interval_end	timestamptz NOT NULL,
	run_id				bigint NOT NULL,
	state				text NOT NULL DEFAULT 'loading',
	fingerprint			text NOT NULL,
	definition_digest	text NOT NULL DEFAULT '',
	item_count			integer,
	pagination			jsonb,
	routes				jsonb,
	routed_from			bigint,
	refetch				boolean NOT NULL DEFAULT false,
	absent				boolean NOT NULL DEFAULT false,
	partition_key		bigint NOT NULL DEFAULT 0,
	shared_partition_key bigint NOT NULL DEFAULT 0,
	partition_name		name,
	requests			bigint NOT NULL DEFAULT 0,
	bytes				bigint NOT NULL DEFAULT 0,
	fetched				bigint NOT NULL DEFAULT 0,
	loaded				bigint NOT NULL DEFAULT 0,
	quarantined			bigint NOT NULL DEFAULT 0,
	skipped				bigint NOT NULL DEFAULT 0,
	not_modified		bigint NOT NULL DEFAULT 0,
	failed_items		bigint NOT NULL DEFAULT 0,
	started_at			timestamptz NOT NULL DEFAULT clock_timestamp(),
	completed_at		timestamptz,
	published_at		timestamptz,
	superseded_at		timestamptz,
	superseded_by		bigint,
	superseded_xid		xid8,
	reclaimed_at		timestamptz,
	details_pruned_at	timestamptz,
	CHECK (fetched = loaded + quarantined)
);
COMMENT ON TABLE etl.load IS 'one extraction''s rows for one interval: the ledger of publication; read etl.loads';
COMMENT ON COLUMN etl.load.requests IS 'this and the other counts: written when the load is complete, until then they are in its slices';
COMMENT ON COLUMN etl.load.item_count IS 'rows of for_each when the load began; NULL: there is one item without values';
COMMENT ON COLUMN etl.load.pagination IS 'what pagination "auto" has turned out to be';
COMMENT ON COLUMN etl.load.partition_key IS 'of the load''s own partition once it has one, before that of the shared one';
COMMENT ON COLUMN etl.load.shared_partition_key IS '0: the partition shared by all loads; below: the one of a time, for tasks with retain';
COMMENT ON COLUMN etl.load.routes IS 'reads "current": the intervals whose records this fetch takes, as {load_id, start, end}';
COMMENT ON COLUMN etl.load.routed_from IS 'the load whose fetch brought these records';
COMMENT ON COLUMN etl.load.skipped IS 'records that were sent but are not this load''s: of another interval, or loaded before; not counted as fetched';
COMMENT ON COLUMN etl.load.not_modified IS 'pages whose records were taken from an earlier load, because the source answered 304';
COMMENT ON COLUMN etl.load.absent IS 'what was asked for was not there; asked for again as long as recheck says';
COMMENT ON COLUMN etl.load.details_pruned_at IS 'since when only those of its pages are known that are still of use';
COMMENT ON COLUMN etl.load.refetch IS 'its publication failed, or it could not be resumed: the next run of the interval asks the source again';
CREATE INDEX load_interval ON etl.load (pipeline, task, data_interval_start);
CREATE INDEX load_published ON etl.load (load_id) WHERE state = 'published';
CREATE INDEX load_reclaimable ON etl.load (target_schema, target_name)
	WHERE state IN ('superseded', 'abandoned', 'expired') AND reclaimed_at IS NULL;

-- A table of their own: every commit of a page reads the row of its load.
CREATE TABLE etl.load_item (
	load_id		bigint NOT NULL,
	item		integer NOT NULL,
	item_values jsonb NOT NULL,
	PRIMARY KEY (load_id, item)
);
COMMENT ON TABLE etl.load_item IS 'the rows of for_each as they were when a load began, numbered from 0: it is resumed with the same ones';

CREATE TABLE etl.slice (
	load_id		 bigint NOT NULL,
	slice		 integer NOT NULL,
	item		 integer NOT NULL,
	page		 integer NOT NULL,
	page_count	 integer NOT NULL DEFAULT 0,
	page_size	 integer NOT NULL DEFAULT 0,
	request		 text NOT NULL,
	status		 integer,
	attempts	 integer NOT NULL,
	next_cursor	 jsonb,
	body_digest	 bigint,
	bytes		 bigint NOT NULL,
	fetched		 bigint NOT NULL,
	loaded		 bigint NOT NULL,
	quarantined	 bigint NOT NULL,
	skipped		 bigint NOT NULL DEFAULT 0,
	etag		 text,
	last_modified text,
	request_key	 text,
	committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (load_id, slice),
	CHECK (fetched = loaded + quarantined)
);
COMMENT ON TABLE etl.slice IS 'one committed page or file of a load, with the cursor that leads to the next one; read etl.slices';
COMMENT ON COLUMN etl.slice.next_cursor IS 'where the item goes on; NULL: this is its last page';
COMMENT ON COLUMN etl.slice.page_count IS 'pages the item is known to have, fetched in any order; 0: each page names the next';
COMMENT ON COLUMN etl.slice.request_key IS 'of a request whose answer had an ETag or a date: asked again, it is asked conditionally';
CREATE UNIQUE INDEX slice_page ON etl.slice (load_id, item, page);
CREATE UNIQUE INDEX slice_cursor ON etl.slice (load_id, item, md5(next_cursor::text)) WHERE next_cursor IS NOT NULL;
CREATE INDEX slice_request ON etl.slice (request_key, load_id) WHERE request_key IS NOT NULL;

CREATE TABLE etl.routed_slice (
	load_id bigint NOT NULL,
	slice	integer NOT NULL,
	records bigint NOT NULL,
	PRIMARY KEY (load_id, slice)
);
COMMENT ON TABLE etl.routed_slice IS 'records that a page brought for the load of another interval, until the fetch is complete';

CREATE TABLE etl.item_error (
	load_id		  bigint NOT NULL,
	item		  integer NOT NULL,
	error_code	  text NOT NULL,
	error_message text NOT NULL,
	error_detail  text,
	failed_at	  timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (load_id, item)
);
COMMENT ON TABLE etl.item_error IS 'items of for_each that failed alone; read etl.item_errors';

CREATE TABLE etl.load_watermark (
	load_id		bigint NOT NULL,
	item		jsonb NOT NULL,
	start_value text NOT NULL,
	start_seen	text[] NOT NULL DEFAULT '{}',
	ceiling		text,
	value		text,
	seen		text[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (load_id, item)
);
COMMENT ON TABLE etl.load_watermark IS 'where a load began and, once it is complete, how far it has got; counts in etl.watermark once the load is published';
COMMENT ON COLUMN etl.load_watermark.item IS 'the for_each columns that a watermark is kept for; null without any';
COMMENT ON COLUMN etl.load_watermark.seen IS 'digests of the records at the watermark or within its lag: sent again, they are not loaded again';
COMMENT ON COLUMN etl.load_watermark.ceiling IS 'of a rerun: where the load that it replaces ended and later ones go on';

CREATE TABLE etl.slice_watermark (
	load_id		  bigint NOT NULL,
	item		  jsonb NOT NULL,
	value		  text NOT NULL,
	digests		  text[] NOT NULL,
	digest_values text[] NOT NULL
);
COMMENT ON TABLE etl.slice_watermark IS 'how far each page of a load takes its watermark, committed with its rows, until the load is complete';
COMMENT ON COLUMN etl.slice_watermark.digests IS 'of the records at that value or within the lag below, whose values are in digest_values';
CREATE INDEX slice_watermark_item ON etl.slice_watermark (load_id, item);

CREATE SEQUENCE etl.quarantine_id_seq;
CREATE TABLE etl.quarantined_record (
	quarantine_id  bigint PRIMARY KEY DEFAULT nextval('etl.quarantine_id_seq'),
	load_id		   bigint NOT NULL,
	pipeline	   text NOT NULL,
	task		   text NOT NULL,
	slice		   integer NOT NULL,
	record_number  integer NOT NULL,
	byte_offset	   bigint NOT NULL,
	record		   bytea NOT NULL,
	reason_code	   text NOT NULL,
	reason		   text NOT NULL,
	request		   text NOT NULL,
	quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	document	   jsonb,
	correction	   jsonb,
	corrected_at   timestamptz,
	corrected_by   name,
	correction_note text,
	tried_at	   timestamptz,
	tried_reason_code text,
	tried_reason   text,
	replayed_at	   timestamptz,
	replayed_by	   name,
	replayed_into  bigint
);
COMMENT ON TABLE etl.quarantined_record IS 'records that did not get in, as received, with the reason; read etl.quarantine and etl.replayed';
COMMENT ON COLUMN etl.quarantined_record.document IS 'the record as JSON, where its bytes were something else: a row of CSV, another charset';
COMMENT ON COLUMN etl.quarantined_record.correction IS 'what shall be loaded in its place: see etl.correct_quarantined';
COMMENT ON COLUMN etl.quarantined_record.replayed_at IS 'since when it is in the raw table; NULL: it is in quarantine';
COMMENT ON COLUMN etl.quarantined_record.replayed_into IS 'the load that has it now: by its record_time perhaps another one than it was fetched for';
CREATE INDEX quarantined_record_load ON etl.quarantined_record (load_id);

CREATE SEQUENCE etl.check_result_id_seq;
CREATE TABLE etl.check_result (
	check_result_id bigint PRIMARY KEY DEFAULT nextval('etl.check_result_id_seq'),
	run_id			bigint,
	pipeline		text NOT NULL,
	check_name		text NOT NULL,
	target			text NOT NULL,
	check_type		text NOT NULL,
	severity		text NOT NULL,
	passed			boolean NOT NULL,
	failing_rows	bigint NOT NULL,
	figure			text,
	threshold		text,
	sample			jsonb NOT NULL DEFAULT '[]',
	attempt			integer NOT NULL,
	checked_at		timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE etl.check_result IS 'the outcome of each check of each attempt, kept also when the publication was rolled back; read etl.check_results';
COMMENT ON COLUMN etl.check_result.run_id IS 'NULL: by hand, etl.run_checks(record => true)';
CREATE INDEX check_result_run ON etl.check_result (run_id);

CREATE SEQUENCE etl.log_id_seq;
CREATE TABLE etl.log_entry (
	log_id	  bigint PRIMARY KEY DEFAULT nextval('etl.log_id_seq'),
	logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	level	  text NOT NULL CHECK (level IN ('INFO', 'WARN', 'ERROR')),
	pipeline  text,
	owner	  name NOT NULL,
	run_id	  bigint,
	task	  text,
	message	  text NOT NULL,
	detail	  jsonb
);
COMMENT ON TABLE etl.log_entry IS 'structured log; read etl.log';
CREATE INDEX log_entry_run ON etl.log_entry (run_id);

SELECT pg_catalog.pg_extension_config_dump('etl.run', '');
SELECT pg_catalog.pg_extension_config_dump('etl.run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.task_run', '');
SELECT pg_catalog.pg_extension_config_dump('etl.task_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.task_attempt', '');
SELECT pg_catalog.pg_extension_config_dump('etl.cancel_request', '');
SELECT pg_catalog.pg_extension_config_dump('etl.load', '');
SELECT pg_catalog.pg_extension_config_dump('etl.load_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.load_item', '');
SELECT pg_catalog.pg_extension_config_dump('etl.slice', '');
SELECT pg_catalog.pg_extension_config_dump('etl.routed_slice', '');
SELECT pg_catalog.pg_extension_config_dump('etl.load_watermark', '');
SELECT pg_catalog.pg_extension_config_dump('etl.slice_watermark', '');
SELECT pg_catalog.pg_extension_config_dump('etl.item_error', '');
SELECT pg_catalog.pg_extension_config_dump('etl.quarantined_record', '');
SELECT pg_catalog.pg_extension_config_dump('etl.quarantine_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.check_result', '');
SELECT pg_catalog.pg_extension_config_dump('etl.check_result_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.log_entry', '');
SELECT pg_catalog.pg_extension_config_dump('etl.log_id_seq', '');
