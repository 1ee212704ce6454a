-- Who may do what: a list of what is allowed, as everything else is not.  A function that is
-- not listed here is for the extension itself: for functions that run with its rights, and
-- the coordinator.  By name alone, as there are no overloads.
--
-- Templates come behind this part; they only compose text, and are everybody's.

-- ---------------------------------------------------------------- what all may see

REVOKE ALL ON ALL TABLES IN SCHEMA etl FROM PUBLIC;
GRANT SELECT ON etl.pipelines, etl.pools, etl.tasks, etl.runs, etl.task_runs, etl.task_attempts, etl.progress, etl.loads, etl.slices, etl.watermarks, etl.item_errors, etl.quarantine,
	etl.check_waivers, etl.backfills, etl.backfill_intervals, etl.check_results, etl.log, etl.templates, etl.published_loads, etl.freshness, etl.lineage, etl.state_transition, etl._declared_tasks, etl.registered_schema,
	etl.pipeline_days, etl.pipeline_statistics, etl.notifications, etl.notification_log, etl.rate_budgets, etl.source_quotas, etl._schedules TO PUBLIC;

-- ----------------------------------------------------------------- what all may call

REVOKE ALL ON ALL ROUTINES IN SCHEMA etl FROM PUBLIC;

-- Verbs and declarations: they ask whose pipeline it is.
GRANT EXECUTE ON ROUTINE etl.add_call, etl.drop_task, etl.scaffold, etl.explain, etl.trigger, etl.retry, etl.clear, etl.backfill, etl.cancel_backfill, etl.wait, etl.diagnose, etl._diagnose_run, etl._diagnose_cause, etl._diagnose_attempts, etl._diagnose_data, etl._diagnose_last_good, etl._diagnose_waiting, etl._diagnose_next, @extschema@.etl_run, etl.run, etl.reprocess, etl.cancel, etl.pause, etl.resume, etl.set_watermark, etl.forget_quotas, etl.next_runs,
	etl.create_pipeline, etl.alter_pipeline, etl.drop_pipeline, etl.set_pool, etl.drop_pool, etl.add_extract, etl.add_load, etl.add_check, etl.run_checks, etl.feed, etl.transform, etl.grant_read, etl.revoke_read, etl.create_dim_date,
	etl.pipeline_sql, etl.install, etl.template_sql TO PUBLIC;
GRANT EXECUTE ON FUNCTION etl.prune_history, etl.add_notification, etl.drop_notification, etl.latest_interval, etl.schedule_with_pg_cron, etl.unschedule_with_pg_cron TO PUBLIC;
-- What views, constraints and people compute with.
GRANT EXECUTE ON FUNCTION etl.data_interval_start, etl.data_interval_end, etl.run_date, etl.run_id,
	etl.check_schedule, etl.schedule_ticks, etl.next_ticks, etl.schedule_intervals,
	etl.json_path_keys, etl.is_valid_json, etl.validate_json, etl.is_valid_json_text, etl.validate_json_text, etl.json_row, etl.is_castable TO PUBLIC;

-- What those and the views are made of, as far as it runs with the caller's own rights.
GRANT EXECUTE ON FUNCTION etl._run_status, etl._instant_in, etl._request_backfill, etl._owns, etl._may_see, etl._is_copy, etl._next_interval, etl._due_intervals, etl._launcher_exists, etl._activity, etl._depends_on, etl._full_name,
	etl._request_status, etl._request_results, etl._request_failure, etl._rate_limit_windows,
	etl._own_pipeline, etl._save_pipeline, etl._alter_pipeline, etl._forget_pipeline, etl._forget_loads, etl._save_task, etl._write_task, etl._readers, etl._remember_reader, etl._published_relations, etl._grant_target, etl._check_reader, etl._forget_target_state, etl._set_template,
	etl._parse_name, etl._relation, etl._ensure_schema, etl._derived_name, etl._column_list,
	etl._check_option_names, etl._default_settings, etl._settings, etl._other_settings, etl._settings_of_options, etl._check_name, etl._check_pool, etl._check_task_settings, etl._task_setting_names, etl._own_settings, etl._apply_settings, etl._check_pipeline_settings, etl._check_setting, etl._check_name,
	etl._call_parameters, etl._call_candidates, etl._resolve_call, etl._call_placeholders, etl._call_values, etl._check_call_arguments, etl._expand, etl._encode_url, etl._publish_mode, etl._notice_schedule, etl._check_pagination, etl._check_source, etl._guess_records, etl._check_text_map,
	etl._check_format, etl._check_csv_options, etl._check_format_pagination, etl._check_charset, etl._reads_zstd, etl._read_page,
	etl._check_body, etl._body_strings, etl._check_path, etl._check_task_headers, etl._check_method, etl._check_body_parameter, etl._is_graphql, etl._is_graphql_body,
	etl._check_error_rule, etl._check_error_rules, etl._check_interval_settings, etl._check_watermark, etl._watermark_less_lag, etl._watermark_value, etl._watermark_compare, etl._record_time,
	etl._placeholder_tokens, etl._check_placeholders, etl._check_record_path, etl._for_each_columns,
	etl._check_columns, etl._argument_columns, etl._check_arguments, etl._check_argument, etl._check_entries, etl._check_types, etl._entry_problem, etl._normal_arguments,
	etl._counts_rows, etl._type_of_column, etl._check_condition, etl._check_check_options, etl._prepare_check, etl._counted_condition, etl._check_scd2_options, etl._scd2_roles, etl._has_unique_index,
	etl._views_and_tables_read, etl._tables_read, etl._reads_interval, etl._tasks, etl._task_dependencies, etl._task_order, etl._helper_views,
	etl._create_raw_table, etl._create_raw_views, etl._create_target, etl._view_columns, etl._check_load_policies, etl._check_parent, etl._task_name, etl._add_mark_columns,
	etl._observation_form, etl._observation_columns, etl._drop_other_observations, etl._create_observations, etl._add_missing_columns, etl._reset_observations,
	etl._column_type, etl._schema_differences, etl._is_wider, etl._column_dependents, etl._alter_target, etl._change_schema,
	etl._check_partition_option,
	etl._create_scd2_target, etl._create_scd2_observations,
	etl._option_list, etl._argument, etl._table_sql, etl._helper_views_sql, etl._task_sql,
	etl._template_options, etl._template_source, etl._template_sql, etl._check_template_schema TO PUBLIC;

GRANT EXECUTE ON FUNCTION etl._prune_history, etl._statistics_since, etl._duration_of_step, etl._notification_events, etl._notification_placeholders,
	etl._preset_body, etl._check_notification, etl._save_notification, etl._pg_cron_job TO PUBLIC;

-- What a worker calls, connected as the owner of the pipeline.  What writes the catalog asks
-- for the attempt the worker holds; the rest touches only what its owner may touch.
GRANT EXECUTE ON FUNCTION etl._next_tasks, etl._claim, etl._fail_attempt, etl._set_context, etl._report, etl._note, etl._log,
	etl._lock_holder, etl._locks_held, etl._fence_load,
	etl._begin_extract, etl._open_load, etl._run_of_load, etl._read_items, etl._set_load_items, etl._load_position, etl._load_pagination, etl._keep_pagination,
	etl._next_items, etl._skip_item, etl._forget_failed_items, etl._count_load, etl._known_quotas, etl._note_quotas, etl._held_slices, etl._reuse_quarantined, etl._commit_slices,
	etl._route_records, etl._count_routed, etl._quarantine, etl._warn_invalid, etl._finish_extract, etl._skip_load_ids,
	etl._give_own_partition, etl._record_partition, etl._give_shared_partition, etl._record_shared_partition, etl._shared_partition_start,
	etl._call, etl._begin_call, etl._publish, etl._publish_lock_targets, etl._publish_load, etl._publish_loads, etl._publish_steps, etl._finish_publish,
	etl._reconcile, etl._expire_loads, etl._reclaim, etl._reclaim_after, etl._reclaimable_loads, etl._raw_tables_of, etl._mark_reclaimed,
	etl._partition_of_key, etl._partition_is_unneeded,
	etl._equality_operator, etl._same, etl._key_match, etl._materialize_source, etl._check_source_keys,
	etl._observations_follow, etl._prepare_target, etl._prepare_targets, etl._record_view_columns,
	etl._partition_bounds, etl._period_start, etl._usual_period, etl._ensure_partitions, etl._retained_targets_of, etl._drop_expired_partition,
	etl._append_new_keys, etl._append_new_rows, etl._append_interval, etl._mark_absent, etl._load_snapshot_runs, etl._materialize_parents, etl._load_children,
	etl._resolve_lookup, etl._resolve_lookups, etl._note_dimension_change, etl._sync_lookups, etl._check_unknown_member, etl._unknown_member_key, etl._ensure_unknown_member,
	etl._lookup_moment, etl._lookup_condition, etl._lookup_value, etl._lookup_parts, etl._with_lookups, etl._repair_lookups,
	etl._overlap_query, etl._refuse_overlap, etl._ensure_no_overlap,
	etl._clipped, etl._free_name, etl._snake_case, etl._scaffold_fields, etl._scaffold_value, etl._scaffold_views, etl._explain_extract, etl._explain_load, etl._estimated_rows,
	etl._keep_latest, etl._load_target, etl._load_full, etl._load_partition, etl._load_observed, etl._apply_difference, etl._replace_rows, etl._insert_source, etl._has_rows, etl._is_snapshot,
	etl._check_scd2_source, etl._load_scd2, etl._scd2_shape, etl._scd2_observe, etl._scd2_fold, etl._scd2_apply,
	etl._written_here, etl._scope_condition, etl._failing_condition, etl._failing_rows_query, etl._figure_query, etl._sampled, etl._now,
	etl._acting_owner, etl._interval_from, etl._record_check_results, etl._feed_load, etl._feed_quarantine, etl._advance_target, etl._latest_interval,
	etl._may_read, etl._earlier_volumes, etl._run_check, etl._run_row_check, etl._run_volume_check,
	etl._my_due_deliveries, etl._claim_delivery, etl._settle_delivery TO PUBLIC;

-- Schemas from data, drift and quarantine: declarations and verbs, what they are made of, and
-- what a worker calls.
GRANT SELECT ON etl.replayed, etl.schema_drift TO PUBLIC;
GRANT EXECUTE ON FUNCTION etl.infer_schema, etl._infer_schema, etl.replay_quarantine, etl.correct_quarantined,
	etl._check_contract, etl._schema_fields, etl._schema_reference, etl._schema_branches, etl._schema_types, etl._path_of_member,
	etl._task_name, etl._replay_load, etl._lock_replayable_load, etl._next_quarantined, etl._settle_replay, etl._judge_for_load, etl._load_of_time,
	etl._judge_records, etl._insert_replayed, etl._record_time,
	etl._load_shape, etl._expected_fields, etl._save_shape, etl._record_drift TO PUBLIC;

-- Operations, and what people read of them.
GRANT SELECT ON etl.backfills, etl.backfill_intervals, etl.check_waivers TO PUBLIC;
GRANT EXECUTE ON FUNCTION etl.trigger, etl.retry, etl.clear, etl.backfill, etl.cancel_backfill, etl.wait, etl.diagnose,
	etl._run_status, etl._instant_in, etl._request_backfill,
	etl._diagnose_run, etl._diagnose_cause, etl._diagnose_attempts, etl._diagnose_data, etl._diagnose_last_good, etl._diagnose_waiting, etl._diagnose_next,
	etl.replace_view, etl._replace_view, etl._views_on, etl._view_attire, etl._view_head, etl._dress_view TO PUBLIC;

-- ------------------------------------------------------------------ what roles may

-- etl_reader sees the rows of all pipelines in the views, etl_operator may operate them: the
-- functions ask, see etl._may_see and etl._may_operate.  These grants say so to \dn+, and
-- keep the roles from being dropped under the extension.
GRANT USAGE ON SCHEMA etl TO etl_reader, etl_operator;

-- etl_admin decides what the server talks to.  Every function that reaches the network by
-- itself, in the session of its caller, belongs here and nowhere above.
GRANT USAGE ON FOREIGN DATA WRAPPER etl_http TO etl_admin;
GRANT EXECUTE ON FUNCTION etl.register_schema, etl.unregister_schema TO etl_admin;
GRANT EXECUTE ON FUNCTION etl.peek, etl.test_source, etl._try_source TO etl_admin;
