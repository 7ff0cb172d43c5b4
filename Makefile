# ff: feature flags inside PostgreSQL.
#
#	make, make install	the extension (PG_CONFIG chooses the server)
#	make install-bridge	the daemon, under PREFIX (/usr/local)
#	make demo			everything, shown; make run leaves it up, make stop ends it
#	make check			all tests; make bench, make bench-bridge, make fuzz, make format
#	make check-majors	those that need a server, on PostgreSQL 17 and 18; as root

PG_CONFIG ?= pg_config
SCRIPTED = demo run stop check check-majors bench bench-bridge fuzz format install-bridge

# PGXS has a check of its own, which only says that it is not supported: these goals go without
ifneq ($(filter $(SCRIPTED),$(MAKECMDGOALS)),)

.PHONY: $(SCRIPTED)

demo run stop:
	./scripts/demo.sh $@

check:
	./scripts/check.sh

check-majors:
	./scripts/majors.sh 17 18

bench:
	./bench/run.sh

bench-bridge:
	./bench/bridge.sh

install-bridge:
	$(MAKE) -C sse-bridge install

fuzz:
	$(MAKE) -C test/fuzz fuzz

format:
	clang-format -i $(filter-out %/ffe_casefold.h,$(shell git ls-files '*.c' '*.h'))

else

EXTENSION = ff
MODULE_big = ff
DATA = ff--1.0.sql
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/engine/*.c)))
PG_CPPFLAGS = -I$(CURDIR)/src
PG_CFLAGS = -std=gnu11 -Wno-declaration-after-statement $(FF_CFLAGS)
SHLIB_LINK = -lpcre2-8 -lm

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h src/engine/*.h)

# another extension may carry the engine too: each keeps its own
$(filter src/engine/%,$(OBJS)): override CFLAGS += -fvisibility=hidden

# a released install script is kept in the repository; this is how it was made
SQL_PARTS = $(sort $(wildcard sql/*.sql))
all: ff--1.0.sql
ff--1.0.sql: $(SQL_PARTS)
	cat $(SQL_PARTS) > $@

endif
