/*-------------------------------------------------------------------------
 *
 * inflate.h
 *	  zlib's inflate, and ISA-L's for gzip where there is one: a third of the time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_HTTP_INFLATE_H
#define ETL_HTTP_INFLATE_H

#include "postgres.h"

#include <zlib.h>

/* A stream that is inflated.  Starts as zeros. */
typedef struct inflater
{
	z_stream stream; /* the caller's: next_in, avail_in, next_out, avail_out */
	int window;		 /* as inflateInit2 has it */
	bool initiated;	 /* zlib holds something for the stream */
	void *gzip;		 /* ISA-L's state; NULL: zlib does it */
} inflater;

extern void inflater_start(inflater *inflater, int window);
extern int inflater_run(inflater *inflater);
extern void inflater_restart(inflater *inflater);
extern void inflater_end(inflater *inflater);

#endif /* ETL_HTTP_INFLATE_H */
