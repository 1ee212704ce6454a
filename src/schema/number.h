/*-------------------------------------------------------------------------
 *
 * number.h
 *	  Numbers of JSON: exact, with short cuts for the small ones.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ETL_SCHEMA_NUMBER_H
#define ETL_SCHEMA_NUMBER_H

#include "postgres.h"

#include "utils/numeric.h"

extern int json_number_compare(Numeric a, Numeric b);
extern bool json_number_is_integer(Numeric number);
extern bool json_number_is_written_as_integer(Numeric number);
extern bool json_number_is_multiple(Numeric number, Numeric divisor);
extern bool json_number_to_count(Numeric number, int64 *out);

#endif /* ETL_SCHEMA_NUMBER_H */
