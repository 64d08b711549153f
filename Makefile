# bailey. `make help` lists the targets. O=DIR builds elsewhere; SAN=1 with AddressSanitizer and UBSan.

O   ?= build
CC  ?= gcc
VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null)

ifdef SAN
O := $(O)/asan
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DBAILEY_TESTING
LDSAN := -fsanitize=address,undefined
else
OPT := -O2 -g -D_FORTIFY_SOURCE=2
endif

CFLAGS   ?=
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
            -Wno-unused-parameter -Wno-missing-field-initializers
BASE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -I. -fPIE -fstack-protector-strong -fno-plt $(WARN) $(OPT)
DEFS     := -DBAILEY_VERSION='"$(VERSION)"' -DBAILEY_COMMIT='"$(COMMIT)"'
# Static where Debian ships an archive (docs/adr/0001); libmnl has none and is loaded on demand.
LIBS     := -l:libseccomp.a -l:libcap.a -l:libyajl_s.a
LDFLAGS  ?=
BASE_LDFLAGS := -pie -Wl,-z,now -Wl,-z,relro -Wl,--as-needed -Wl,--gc-sections $(LDSAN)

MODULES := base spec security namespaces cgroups netsetup images
SRCS    := $(foreach m,$(MODULES),$(wildcard $(m)/*.c)) $(filter-out runtime/main.c,$(wildcard runtime/*.c))
OBJS    := $(SRCS:%.c=$(O)/obj/%.o)
MAIN    := $(O)/obj/runtime/main.o
UNIT_SRCS := $(wildcard tests/unit/*/test_*.c)
UNITS   := $(UNIT_SRCS:%.c=$(O)/%)

.PHONY: all
all: $(O)/bailey $(O)/probe

$(O)/bailey: $(MAIN) $(O)/libbailey.a
	$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $(MAIN) $(O)/libbailey.a $(LIBS)

$(O)/libbailey.a: $(OBJS)
	@rm -f $@
	$(AR) rcs $@ $(OBJS)

$(O)/obj/runtime/version.o: .git/HEAD
$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(DEFS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The static program that tests run inside containers.
$(O)/probe: $(wildcard tests/probe/*.c)
	@mkdir -p $(@D)
	$(if $^,$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O1 -static -o $@ $^ -l:libcap.a,@true)

$(O)/tests/unit/%: tests/unit/%.c tests/unit/test.h $(O)/libbailey.a
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(DEFS) $(CFLAGS) $(BASE_LDFLAGS) -MMD -MP -o $@ $< $(O)/libbailey.a $(LIBS)

.PHONY: unit
unit: $(UNITS)
	@set -e; for t in $(UNITS); do echo "== $$t"; $$t; done

.PHONY: format
format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

.PHONY: clean
clean:
	rm -rf $(O)

-include $(OBJS:.o=.d) $(MAIN:.o=.d) $(UNITS:=.d)
