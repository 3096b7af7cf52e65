# sluice: make, make run, make test; make help lists the rest.

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
B       ?= build
SAN     ?=
COV     ?=

VERSION := 0.1.0

# As many at once as there are cores, unless -j says; V=1 shows the commands.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
Q       := $(if $(V),,@)

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
HARDEN  := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE -fcf-protection
OPT     := -O2 -g
ifneq ($(SAN),)
OPT     := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
HARDEN  :=
endif
# Counts survive threads; a node that is killed leaves none.
ifneq ($(COV),)
OPT     := -O0 -g --coverage -fprofile-update=atomic
HARDEN  :=
endif
# The limiter's fence stands beside atomics that the sanitizer does understand.
ifeq ($(SAN),thread)
WARN    += -Wno-tsan
endif
PKGS    := luajit libpcre2-8 jansson libidn2
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   = $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS  += -std=gnu11 -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -Icore -I$(B)/gen $(WARN) $(HARDEN) $(OPT) $(PKG_CFLAGS) -include core/util/banned.h
LDFLAGS += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN)) $(if $(COV),--coverage)
LIBS     = $(PKG_LIBS) $(if $(SAN),,-ljemalloc) -lev -ludns -lmbedtls -lmbedx509 -lmbedcrypto -lpthread -lm

SRC     := $(filter-out core/main.c %_test.c %_fuzz.c %_bench.c,$(wildcard core/*.c core/*/*.c))
OBJ     := $(SRC:%.c=$(B)/%.o)
TESTS   := $(patsubst core/%.c,$(B)/test/%,$(wildcard core/*/*_test.c))
FUZZERS := $(patsubst core/%.c,$(B)/fuzz/%,$(wildcard core/*/*_fuzz.c))
BENCHES := $(patsubst core/%.c,$(B)/bench/%,$(wildcard core/*/*_bench.c))

all: $(B)/sluice

$(B)/sluice: $(B)/core/main.o $(B)/libcore.a
	@echo "  link $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/libcore.a $(LIBS)

$(B)/libcore.a: $(OBJ)
	@rm -f $@
	@ar rcs $@ $(OBJ)

# What policies and specs `require`, as C arrays: lua/sluice/x.lua is the module sluice.x, policies/providers/x.lua providers.x.
LUA := $(filter-out lua/types/%,$(wildcard lua/*.lua lua/*/*.lua policies/providers/*.lua))
$(B)/gen/embedded_lua.h: $(LUA)
	@mkdir -p $(@D)
	@{ n=0; for f in $(LUA); do \
		echo "static const unsigned char embedded_$$n[] = {"; od -An -v -tx1 $$f | sed 's/[0-9a-f][0-9a-f]/0x&,/g'; echo "};"; n=$$((n+1)); done; \
	   echo "static const struct { const char *name; const unsigned char *p; size_t n; } embedded_files[] = {"; \
	   n=0; for f in $(LUA); do \
		m=$$(echo $$f | sed 's,^lua/,,; s,^policies/,,; s,\.lua$$,,; s,/,.,g'); echo "{ \"$$m\", embedded_$$n, sizeof(embedded_$$n) },"; n=$$((n+1)); done; \
	   echo "};"; } > $@.tmp && mv $@.tmp $@
$(B)/core/policy/embedded.o: $(B)/gen/embedded_lua.h

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/test/%: $(B)/core/%.o $(B)/libcore.a
	@mkdir -p $(@D)
	@echo "  link $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/libcore.a $(LIBS) -lcmocka

$(B)/bench/%: $(B)/core/%.o $(B)/libcore.a
	@mkdir -p $(@D)
	@echo "  link $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/libcore.a $(LIBS)

units: $(TESTS)
	@for t in $(TESTS); do echo "== $$t"; $$t || exit 1; done

test:
	deps/install test
	@$(MAKE) --no-print-directory suite

# All tests, once everything they need is installed. Its last line: N passed, N failed.
suite: all $(TESTS)
	@B=$(B) spec/run $(T)

test-asan:
	deps/install test
	@$(MAKE) --no-print-directory B=build-asan SAN=address,undefined suite

test-tsan:
	deps/install test
	@$(MAKE) --no-print-directory B=build-tsan SAN=thread suite

# All tests in a build that counts, then the figures; T as for `make suite`. spec/house/coverage build-cov FILE: what of a file no test runs.
coverage:
	deps/install test
	@find build-cov -name '*.gcda' -delete 2>/dev/null || true
	@SLOW=4 $(MAKE) --no-print-directory B=build-cov COV=1 suite; failed=$$?; spec/house/coverage build-cov && exit $$failed

# make fuzz T=60: each fuzzer that many seconds, from its corpus; SEED=1: no chance.
FUZZ_CC := clang-14
fuzz:
	deps/install fuzz
	@$(MAKE) --no-print-directory CC=$(FUZZ_CC) B=build-fuzz SAN=fuzzer-no-link,address,undefined fuzz-run
fuzz-run: $(FUZZERS:$(B)/fuzz/%_fuzz=$(B)/fuzzed/%)
$(B)/fuzzed/%: $(B)/fuzz/%_fuzz always
	@mkdir -p $(B)/corpus/$(@F) $(@D)
	@echo "fuzzing $* for $(or $(T),60) s"
	@$< -max_total_time=$(or $(T),60) $(if $(SEED),-seed=$(SEED)) -timeout=10 -verbosity=0 $(addprefix -dict=,$(wildcard core/$*_fuzz.dict)) \
		-artifact_prefix=$(B)/ $(B)/corpus/$(@F) spec/corpus/$(@F) >$@ 2>&1 || { cat $@; exit 1; }

# Three static analysers, each source again when it or a header of it changed. What is argued stands in spec/house/analysers.txt.
analyse:
	deps/install test analyse
	@$(MAKE) --no-print-directory analyse-run
ANALYSED := $(patsubst %.c,$(B)/analyse/%.txt,core/main.c $(SRC))
analyse-run: $(ANALYSED)
	@spec/house/analyse judge $(ANALYSED)
$(B)/analyse/%.txt: %.c spec/house/analyse $(B)/gen/embedded_lua.h
	@spec/house/analyse look $< $@ -std=gnu11 -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -Icore -I$(B)/gen $(PKG_CFLAGS) -include core/util/banned.h

# kill -9 under load, K rounds (1000); then new seeds for the specs of properties, until stopped: make soak, make soak K=100 T=600.
soak: all
	@B=$(B) spec/kill $(or $(K),1000)
	@B=$(B) spec/soak $(T)

# make bench T="limit node/relay": those alone. BIG=1: also what takes minutes.
bench:
	deps/install test bench
	@$(MAKE) --no-print-directory all $(BENCHES)
	@B=$(B) spec/bench/run $(T)

bench-peers:
	deps/install test bench
	@$(MAKE) --no-print-directory all
	@B=$(B) spec/bench/peers

$(B)/fuzz/%: $(B)/core/%.o $(B)/libcore.a
	@mkdir -p $(@D)
	@echo "  link $@"
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< $(B)/libcore.a $(LIBS)

clean:
	rm -rf build build-asan build-tsan build-fuzz build-cov

# Installs what is missing, and starts a node that only this machine can reach.
run:
	deps/install
	@$(MAKE) --no-print-directory all
	@mkdir -p $(B)/run
	@echo "to send a first message, in another terminal: $(B)/sluice inject --to you@your.domain 127.0.0.1:2525"
	@echo "to look at the node:                          $(B)/sluice status --control $(B)/run/control.sock"
	@exec $(B)/sluice run policies/default.lua --spool $(B)/run/spool --control $(B)/run/control.sock \
		--accounting $(B)/run/accounting.csv

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/sluice
	install -m 755 $(B)/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -m 644 core/cmd/sluice.1 $(DESTDIR)$(PREFIX)/share/man/man1/sluice.1
	sed 's|@PREFIX@|$(PREFIX)|g' core/cmd/sluice.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	cp -R policies $(DESTDIR)$(PREFIX)/share/sluice/

help:
	@echo "make                  build $(B)/sluice"
	@echo "make run              install what is missing, build, and start a node on policies/default.lua"
	@echo "make test             every test, with all its own set-up"
	@echo "make units            only the C units beside the code"
	@echo "make test-asan        every test, with address and undefined-behaviour sanitizers"
	@echo "make test-tsan        every test, with the thread sanitizer"
	@echo "make fuzz T=60        each fuzzer for that many seconds"
	@echo "make soak T=600       kill -9 under load, K=1000 times; then random worlds with new seeds, so many seconds or until stopped"
	@echo "make bench            the benches, beside the last run's figures; BIG=1 for all of them"
	@echo "make bench-peers      the node beside Postfix and Exim at the same work"
	@echo "make coverage         which lines and branches of core/ the tests run; T=unit for those alone"
	@echo "make analyse          clang's, gcc's analyser and cppcheck over core/; what they find that is not argued"
	@echo "make install          to PREFIX ($(PREFIX)), under DESTDIR if that is given"
	@echo "make clean            remove what was built"
	@echo "make B=build-asan SAN=address,undefined …   any of them, with sanitizers"

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all always units test suite test-asan test-tsan fuzz fuzz-run soak bench bench-peers analyse analyse-run coverage clean run install help
.SECONDARY:
