-- Roles that belong to the cluster, as the databases of it share their members: made by the
-- first CREATE EXTENSION, left in place by DROP EXTENSION.  What each may is granted in
-- privileges.sql or asked by etl._may_see and etl._may_operate.

DO $do$
DECLARE
	r record;
	existing oid;
BEGIN
	FOR r IN SELECT * FROM (VALUES
		('etl_reader', 'etl: sees what all pipelines do, not the data they move'),
		('etl_operator', 'etl: runs, cancels, pauses and resumes all pipelines'),
		('etl_admin', 'etl: makes sources, and tries what they answer')) roles(name, meaning)
	LOOP
		existing := (SELECT a.oid FROM pg_catalog.pg_roles a WHERE a.rolname = r.name);
		IF existing IS NULL THEN
			BEGIN
				EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', r.name);
				EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', r.name, r.meaning);
			EXCEPTION WHEN duplicate_object OR unique_violation THEN
				NULL;		-- by another database, at this moment
			END;
		ELSIF pg_catalog.shobj_description(existing, 'pg_authid') IS DISTINCT FROM r.meaning THEN
			RAISE WARNING 'role "%" was there before etl', r.name
				USING DETAIL = pg_catalog.format('Its members get the privileges of etl''s role of that name (%s).', r.meaning),
					  HINT = 'See who they are: SELECT member::regrole FROM pg_auth_members WHERE roleid = ''' || r.name || '''::regrole;';
		END IF;
	END LOOP;
	IF NOT pg_catalog.pg_has_role('etl_operator', 'etl_reader', 'USAGE') THEN
		GRANT etl_reader TO etl_operator;
	END IF;
	IF NOT pg_catalog.pg_has_role('etl_admin', 'etl_operator', 'USAGE') THEN
		GRANT etl_operator TO etl_admin;
	END IF;
EXCEPTION WHEN insufficient_privilege THEN
	RAISE EXCEPTION 'permission denied to make the roles etl_reader, etl_operator and etl_admin'
		USING ERRCODE = 'insufficient_privilege', DETAIL = SQLERRM || '.',
			  HINT = 'CREATE EXTENSION as a superuser, or let one make them first: CREATE ROLE etl_reader; CREATE ROLE etl_operator IN ROLE etl_reader; CREATE ROLE etl_admin IN ROLE etl_operator;';
END
$do$;
