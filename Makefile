# etl: build, install and test with PGXS.
#
#   make                    build the library and assemble the install script
#   sudo make install       install into the PostgreSQL that pg_config belongs to
#   make installcheck       pg_regress and isolation tests against a running server
#
# scripts/test.sh does all of it, and the TAP tests, on a machine that has nothing yet.

MODULE_big = etl
EXTENSION = etl
EXTVERSION = 1.0

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c src/*/*/*.c)))

# The install script is assembled from parts of one concern each; the order is
# the order of dependence and is part of the source, so it is spelled out.
SQL_PARTS = $(addprefix sql/,$(shell grep -v '^\#' sql/parts.list 2>/dev/null))
SQL_TEMPLATES = $(sort $(wildcard sql/templates/*.sql))
ETL_SQL = sql/etl--$(EXTVERSION).sql

DATA_built = $(ETL_SQL)
EXTRA_CLEAN = $(ETL_SQL) $(OBJS:.o=.bc) $(OBJS:.o=.d)

# zstd files are read where there is libzstd; "make LIBZSTD=" builds without.
LIBZSTD := $(shell pkg-config --exists libzstd && echo libzstd)
# gzip is inflated in a third of the time where there is ISA-L; "make LIBISAL=" builds without.
LIBISAL := $(shell pkg-config --exists libisal && echo libisal)

PG_CPPFLAGS = -I$(srcdir)/src $(shell pkg-config --cflags libcurl zlib $(LIBZSTD) $(LIBISAL)) \
	$(if $(LIBZSTD),-DETL_ZSTD) $(if $(LIBISAL),-DETL_ISAL)
SHLIB_LINK = $(shell pkg-config --libs libcurl zlib $(LIBZSTD) $(LIBISAL))
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-cast-function-type $(if $(CI),-Werror)

REGRESS = $(patsubst test/regress/sql/%.sql,%,$(sort $(wildcard test/regress/sql/*.sql)))
REGRESS_OPTS = --inputdir=test/regress --outputdir=test/regress/results --load-extension=etl
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=test/isolation/results --load-extension=etl

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The tests ask a sample API; this starts one unless ETL_TEST_API names one.
WITH_API = && $(srcdir)/scripts/with_sample_api.sh
pg_regress_installcheck := $(subst &&,$(WITH_API),$(pg_regress_installcheck))
pg_isolation_regress_installcheck := $(subst &&,$(WITH_API),$(pg_isolation_regress_installcheck))

$(ETL_SQL): sql/parts.list $(SQL_PARTS) $(SQL_TEMPLATES) sql/assemble.sh
	sh sql/assemble.sh $(SQL_PARTS) -- $(SQL_TEMPLATES) > $@.tmp && mv $@.tmp $@

# Headers are few and small: any change of one rebuilds what includes headers.
$(OBJS): $(wildcard src/*.h src/*/*.h src/*/*/*.h)
