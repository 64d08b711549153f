# bailey. `make help` lists the targets. O=DIR builds elsewhere, SAN=1 with AddressSanitizer and
# UBSan (into $(O)/asan), CC=clang with clang, V=1 shows the commands.

O       ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null)
NPROC   := $(shell nproc)
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(NPROC)
endif
MAKEFLAGS += --no-builtin-rules
.SECONDARY:
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC := gcc
endif
B := $(O)$(if $(SAN),/asan)
Q := $(if $(V),,@)

ifdef SAN
SANFLAGS := -fsanitize=address,undefined
OPT := -O1 -g $(SANFLAGS) -fno-sanitize-recover=all -fno-omit-frame-pointer -DBAILEY_TESTING
else
OPT := -O2 -g -D_FORTIFY_SOURCE=2
endif

# CFLAGS and LDFLAGS are the caller's; they come last.
CFLAGS  ?=
LDFLAGS ?=
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
        -Wno-unused-parameter -Wno-missing-field-initializers
BASE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -I. -fPIE -fstack-protector-strong -fno-plt -pthread \
        -ffunction-sections -fdata-sections $(WARN) $(OPT)
BASE_LDFLAGS := -pie -pthread -Wl,-z,now -Wl,-z,relro -Wl,--as-needed -Wl,--gc-sections $(SANFLAGS)
DEFS := -DBAILEY_VERSION='"$(VERSION)"' -DBAILEY_COMMIT='"$(COMMIT)"'
# Static where Debian ships an archive (docs/adr/0001-linking.md); libmnl has none and is loaded on
# demand.
LIBS := -l:libseccomp.a -l:libcap.a -l:libyajl_s.a

MODULES := base spec security namespaces cgroups netsetup images process vm guest
SRCS  := $(filter-out guest/main.c guest/nousers.c,$(foreach m,$(MODULES),$(wildcard $(m)/*.c))) \
         $(filter-out runtime/main.c,$(wildcard runtime/*.c))
OBJS  := $(SRCS:%.c=$(B)/obj/%.o)
MAIN  := $(B)/obj/runtime/main.o
UNITS := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))

.PHONY: all
all: $(B)/bailey $(B)/bailey-agent $(B)/probe $(B)/bailey-vm ## build/bailey, the guest's agent, the tests' probe (the default)

# Debug information goes into a file beside the program, where gdb finds it: the sealed copy that each
# container starts from is a third as large without it.
$(B)/bailey: $(MAIN) $(B)/libbailey.a $(B)/linkflags
	@echo "  LD    $@"
	$(Q)$(CC) $(BASE_LDFLAGS) -o $@.tmp $(MAIN) $(B)/libbailey.a $(LIBS) $(LDFLAGS)
ifndef SAN
	$(Q)objcopy --only-keep-debug $@.tmp $@.debug
	$(Q)objcopy --strip-all --add-gnu-debuglink=$@.debug $@.tmp
endif
	$(Q)mv $@.tmp $@

# The first process of a virtual machine, and the same agent over a socket for tests. Static, as
# there is nothing else in the machine; sanitizers cannot be.
AGENT_LDFLAGS := $(if $(SAN),$(BASE_LDFLAGS),-static-pie -Wl,-z,now -Wl,-z,relro -Wl,--gc-sections)
$(B)/bailey-agent: $(B)/obj/guest/main.o
$(B)/native-agent: $(B)/obj/tests/guest/native.o
$(B)/bailey-agent $(B)/native-agent: $(B)/obj/guest/nousers.o $(B)/libagent.a $(B)/linkflags
	@echo "  LD    $@"
	$(Q)$(CC) $(AGENT_LDFLAGS) -o $@.tmp $(filter %.o,$^) $(B)/libagent.a $(LIBS) $(LDFLAGS)
	$(Q)$(if $(SAN),true,objcopy --strip-all $@.tmp)
	$(Q)mv $@.tmp $@

# What guest/ may include, and nothing else.
AGENT_OBJS := $(filter $(foreach m,base spec security namespaces cgroups process guest,$(B)/obj/$(m)/%),$(OBJS))
$(B)/libagent.a: $(AGENT_OBJS) $(B)/sources
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $(AGENT_OBJS)

# Objects that went away must not stay in the archive.
$(B)/libbailey.a: $(OBJS) $(B)/sources
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $(OBJS)

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(BASE_CFLAGS) $(DEFS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The static program that tests run inside containers. It is never built with sanitizers.
$(B)/probe: $(wildcard tests/probe/*.c) $(wildcard tests/probe/*.h)
	@mkdir -p $(@D)
	$(if $^,@echo "  LD    $@")
	$(Q)$(if $^,$(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARN) -O1 -static -o $@ $(filter %.c,$^) -l:libcap.a,true)

# Applies layers alone, for tests/integration/test_images_unpack.py and bench/images.
$(B)/layer: $(B)/obj/tests/unpack/layer.o $(B)/libbailey.a $(B)/linkflags
	@echo "  LD    $@"
	$(Q)$(CC) $(BASE_LDFLAGS) -o $@ $< $(B)/libbailey.a $(LIBS) $(LDFLAGS)

$(B)/tests/unit/%: tests/unit/%.c $(B)/libbailey.a $(B)/flags
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(BASE_CFLAGS) $(DEFS) $(CFLAGS) $(BASE_LDFLAGS) -MMD -MP -o $@ $< $(B)/libbailey.a $(LIBS) $(LDFLAGS)

# Stamps, touched only when what they hold changed: other flags or another commit rebuild what
# depends on them.
define stamp
$(1): FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$$(subst ','\'',$(2))' | cmp -s - $$@ || printf '%s\n' '$$(subst ','\'',$(2))' > $$@
endef
.PHONY: FORCE
$(eval $(call stamp,$(B)/flags,$(CC) $(BASE_CFLAGS) $(CFLAGS) $(VERSION)))
$(eval $(call stamp,$(B)/linkflags,$(BASE_LDFLAGS) $(LIBS) $(LDFLAGS)))
$(eval $(call stamp,$(B)/sources,$(SRCS)))
$(eval $(call stamp,$(B)/commit,$(COMMIT)))
# Who names the commit:
$(patsubst %.c,$(B)/obj/%.o,$(shell grep -l BAILEY_COMMIT $(SRCS) runtime/main.c 2>/dev/null)): $(B)/commit

.PHONY: run
run: ## install what the build needs, build, and show a container from inside
	tools/deps build
	$(MAKE) all
	tools/demo $(B)

.PHONY: deps
deps: ## apt-get install what build and tests need and the machine lacks
	tools/deps build test testbed

.PHONY: guest-kernel
guest-kernel: ## build the small kernel for virtual machines from Debian's source (25 CPU minutes, once)
	tools/deps guest-kernel
	tools/guest-kernel $(B)/guest

.PHONY: unit
unit: $(UNITS) ## build and run the unit tests
	@set -e; for t in $(UNITS); do echo "== $$t"; $$t; done

.PHONY: tests
tests: all $(B)/layer $(B)/native-agent $(UNITS) # everything that tests/run needs

.PHONY: check
check: tests replay-build ## lint, fuzz corpus, check-fast, check-full
	@HOST=$(HOST) tools/check $(B) lint replay tests-fast full

.PHONY: check-fast
check-fast: tests ## the daily loop: unit, integration and attack tests on this machine
	@tools/check $(B) tests-fast

.PHONY: check-full
check-full: tests ## every runtime test on a full host: a virtual machine (HOST=native: this machine)
	@HOST=$(HOST) tools/check $(B) full

.PHONY: check-engines
check-engines: tests ## every engine on a full host, with runc and with bailey; writes docs/engines.md's table
	@tools/check $(B) engines
	tests/engines/table "test host=$(B)/check.engines.log"

.PHONY: testbed-image
testbed-image: ## make the test host's image from Debian packages (once; docs/testbed.md)
	tests/testbed/image

.PHONY: testbed-run
testbed-run: export CMD := $(value CMD)
testbed-run: all ## run CMD='…' as root in the test host; fails with "Error STATUS"
	@tests/testbed/run --build $(B) --command "$$CMD"

.PHONY: testbed-shell
testbed-shell: all ## a root shell in the test host
	tests/testbed/run --build $(B) --shell

.PHONY: asan
asan: ## the fast tests under AddressSanitizer and UBSan
	$(MAKE) SAN=1 tests replay-build
	@tools/check $(O)/asan replay tests-slow

.PHONY: lint
lint: ## include directions, formatting, sizes, banned functions, warnings of gcc and clang
	@tools/lint $(O)

.PHONY: format
format: ## clang-format every C file
	clang-format -i $$(find . -name '*.[ch]' -not -path './$(O)/*' -not -path './.git/*')

include tests/fuzz/fuzz.mk
include tests/machine/machine.mk

.PHONY: bench
bench: all ## measure against the peers and the kernel's floor (root; ROUNDS=100)
	bench/run --build $(B) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: man
man: $(B)/bailey ## write docs/man anew, from the same tables as the help texts
	tools/man $(B)/bailey docs/man

# The same program, called by the name that chooses isolation level vm.
$(B)/bailey-vm: | $(B)/bailey
	$(Q)ln -sf bailey $@

.PHONY: install
install: all ## into DESTDIR/PREFIX (/usr/local): program, manual pages, completion
	install -D -m 0755 $(B)/bailey $(DESTDIR)$(PREFIX)/bin/bailey
	ln -sf bailey $(DESTDIR)$(PREFIX)/bin/bailey-vm
	install -D -m 0755 $(B)/bailey-agent $(DESTDIR)$(PREFIX)/libexec/bailey/bailey-agent
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0644 docs/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -D -m 0644 tools/completion.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bailey
	@# The guest's kernel, if make guest-kernel made one; else machines boot the distribution's.
	if [ -e $(B)/guest/vmlinux ]; then \
	    install -d $(DESTDIR)$(PREFIX)/lib/bailey/guest && \
	    install -m 0644 $(addprefix $(B)/guest/,vmlinux bzImage config release) \
	        $(DESTDIR)$(PREFIX)/lib/bailey/guest; fi

.PHONY: uninstall
uninstall: ## what install put there
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,bailey bailey-vm) $(DESTDIR)$(PREFIX)/libexec/bailey/bailey-agent \
	    $(DESTDIR)$(PREFIX)/share/man/man8/bailey.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man8/bailey-*.8 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bailey
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/bailey/guest/,vmlinux bzImage config release)
	rmdir $(addprefix $(DESTDIR)$(PREFIX)/,lib/bailey/guest lib/bailey libexec/bailey) 2>/dev/null || true

.PHONY: clean
clean: ## remove what was built
	rm -rf $(O)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

-include $(OBJS:.o=.d) $(MAIN:.o=.d) $(B)/obj/guest/main.d $(B)/obj/tests/guest/native.d $(UNITS:=.d)
