-- What people ask for beyond a single run: backfills, and checks waived for a retry.

CREATE SEQUENCE etl.backfill_id_seq;
CREATE TABLE etl.backfill_request (
	backfill_id		bigint PRIMARY KEY DEFAULT nextval('etl.backfill_id_seq'),
	pipeline		text NOT NULL,
	owner			name NOT NULL,
	since			timestamptz NOT NULL,
	until			timestamptz NOT NULL,
	rerun			text NOT NULL CHECK (rerun IN ('none', 'failed', 'all')),
	reverse			boolean NOT NULL,
	max_active		integer NOT NULL CHECK (max_active > 0),
	state			text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'success', 'failed', 'cancelled')),
	problem			text,
	requested_by	name NOT NULL,
	requested_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	started_at		timestamptz,
	ended_at		timestamptz,
	cancelled_by	name,
	cancel_reason	text,
	CHECK (since < until),
	CHECK ((state = 'running') = (ended_at IS NULL))
);
COMMENT ON TABLE etl.backfill_request IS 'one row a backfill; read etl.backfills, ask for one by etl.backfill';
COMMENT ON COLUMN etl.backfill_request.problem IS 'why it ended before all of its intervals had run';
-- Asked at each wake of the coordinator.
CREATE INDEX backfill_request_running ON etl.backfill_request (backfill_id) WHERE state = 'running';

CREATE TABLE etl.backfill_interval (
	backfill_id			bigint NOT NULL,
	position			integer NOT NULL,
	data_interval_start timestamptz NOT NULL,
	data_interval_end	timestamptz NOT NULL,
	state				text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'active', 'success', 'failed', 'cancelled')),
	run_id				bigint,
	PRIMARY KEY (backfill_id, position)
);
COMMENT ON TABLE etl.backfill_interval IS 'the intervals of a backfill in the order they run; read etl.backfill_intervals';
COMMENT ON COLUMN etl.backfill_interval.state IS 'of its run; kept here, as runs are pruned';
-- Of many that wait, a wake reads only the next ones.
CREATE INDEX backfill_interval_unfinished ON etl.backfill_interval (backfill_id, state, position) WHERE state IN ('waiting', 'active');

CREATE TABLE etl.check_waiver (
	run_id		bigint NOT NULL,
	check_name	text NOT NULL,
	-- of the run, which may have been pruned
	pipeline	text NOT NULL,
	owner		name NOT NULL,
	data_interval_start timestamptz NOT NULL,
	retry_of	bigint,
	waived_by	name NOT NULL,
	waived_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	reason		text NOT NULL,
	PRIMARY KEY (run_id, check_name)
);
COMMENT ON TABLE etl.check_waiver IS 'checks of severity error that count as warnings in one run, who decided so and why; read etl.check_waivers';

SELECT pg_catalog.pg_extension_config_dump('etl.backfill_request', '');
SELECT pg_catalog.pg_extension_config_dump('etl.backfill_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('etl.backfill_interval', '');
SELECT pg_catalog.pg_extension_config_dump('etl.check_waiver', '');
