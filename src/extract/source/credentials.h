/*-------------------------------------------------------------------------
 *
 * credentials.h
 *	  As whom a source is asked: what a user mapping says, with its secrets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_CREDENTIALS_H
#define ETL_CREDENTIALS_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "extract/source/oauth.h"
#include "extract/source/options.h"
#include "extract/source/source.h"

/* One reading of the secrets.  Lives in a context of its own, child of the source's. */
typedef struct credentials
{
	MemoryContext context;
	auth_kind kind;
	char *header;		 /* the header they are in; NULL: in parameter */
	char *parameter;	 /* the query parameter they are in; NULL: in header */
	List *tokens;		 /* of pool_token *, what is sent: one or several; NIL for OAuth */
	oauth_client *oauth; /* AUTH_OAUTH2; NULL: another kind */
	List *secrets;		 /* of char *: what must not be shown, as it may be spelled */
} credentials;

extern void credentials_read(source *from);

#endif /* ETL_CREDENTIALS_H */
