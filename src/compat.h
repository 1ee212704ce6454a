/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the PostgreSQL versions this builds on: 15 to 18.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_COMPAT_H
#define ETL_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "etl needs PostgreSQL 15 or later"
#endif

/* Background workers may connect as a role without LOGIN since 17. */
#if PG_VERSION_NUM >= 170000
#define ETL_WORKER_CONNECTION_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define ETL_WORKER_CONNECTION_FLAGS 0
#endif

#if PG_VERSION_NUM < 160000
#include "utils/acl.h"
#include "foreign/foreign.h"
#include "catalog/pg_foreign_server.h"
#define etl_server_aclcheck(server, role) pg_foreign_server_aclcheck(server, role, ACL_USAGE)
#else
#include "catalog/pg_foreign_server.h"
#include "utils/acl.h"
#define etl_server_aclcheck(server, role)                                                          \
	object_aclcheck(ForeignServerRelationId, server, role, ACL_USAGE)
#endif

#include "common/base64.h"
#include "storage/lock.h"

/* pg_b64_encode takes bytes instead of characters since 18. */
#if PG_VERSION_NUM >= 180000
#define etl_b64_encode(source, length, target, size)                                               \
	pg_b64_encode((const uint8 *) (source), length, target, size)
#else
#define etl_b64_encode(source, length, target, size) pg_b64_encode(source, length, target, size)
#endif

/*
 * Bytes in base64, palloc'd.
 */
static inline char *
etl_base64(const char *source, int length)
{
	int size = pg_b64_enc_len(length);
	char *target = palloc0(size + 1);

	if (etl_b64_encode(source, length, target, size) < 0)
		elog(ERROR, "could not encode %d bytes in base64", length);
	return target;
}

/* DecodeDateTime tells more about errors since 16. */
#if PG_VERSION_NUM >= 160000
#define etl_decode_datetime(fields, types, count, type, tm, fraction, timezone)                    \
	DecodeDateTime(fields, types, count, type, tm, fraction, timezone, &(DateTimeErrorExtra){0})
#else
#define etl_decode_datetime(fields, types, count, type, tm, fraction, timezone)                    \
	DecodeDateTime(fields, types, count, type, tm, fraction, timezone)
#endif

/* LockHeldByMe takes a third argument since 17. */
#if PG_VERSION_NUM >= 170000
#define etl_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define etl_lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* pg_noreturn, which comes first, took its place in 18. */
#if PG_VERSION_NUM >= 180000
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* PortalRun lost an argument that was always true in 18. */
#if PG_VERSION_NUM >= 180000
#define etl_portal_run(portal, count, top_level, dest, alternative_dest, completion)               \
	PortalRun(portal, count, top_level, dest, alternative_dest, completion)
#else
#define etl_portal_run(portal, count, top_level, dest, alternative_dest, completion)               \
	PortalRun(portal, count, top_level, true, dest, alternative_dest, completion)
#endif

/* A lexer of JSON text that leaves escapes as they are; since 17 it may live on the stack. */
#if PG_VERSION_NUM >= 170000
#define etl_json_lexer(text, length)                                                               \
	makeJsonLexContextCstringLen(NULL, text, length, GetDatabaseEncoding(), false)
#else
#define etl_json_lexer(text, length)                                                               \
	makeJsonLexContextCstringLen(unconstify(char *, text), length, GetDatabaseEncoding(), false)
#endif

/* Raises an error of it. */
#if PG_VERSION_NUM >= 160000
#define etl_json_report_error(error, lexer) json_errsave_error(error, lexer, NULL)
#else
#define etl_json_report_error(error, lexer) json_ereport_error(error, lexer)
#endif

/*
 * From libpq/libpq.h, which cannot be included: it wants the Kerberos headers that
 * PostgreSQL was built with.
 */
extern bool pq_check_connection(void);

#endif /* ETL_COMPAT_H */
