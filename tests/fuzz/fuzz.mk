# Included by the Makefile. `make fuzz SECONDS=600 TARGET=config` drives one target with libFuzzer,
# without TARGET each of them in turn; `make replay` runs all of them once over their corpus.

FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CC      ?= clang
FUZZ_FLAGS   := -std=gnu11 -D_GNU_SOURCE -I. $(WARN) -O1 -g -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=all -DBAILEY_TESTING -DFUZZING
FUZZ_OBJS    := $(SRCS:%.c=$(B)/fuzz/obj/%.o)
SECONDS      ?= 60
TARGET       ?= $(FUZZ_TARGETS)

$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  FUZZ  $<"
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(DEFS) -MMD -MP -c -o $@ $<

$(B)/fuzz/libbailey.a: $(FUZZ_OBJS)
	$(Q)rm -f $@ && $(AR) rcs $@ $(FUZZ_OBJS)

$(B)/fuzz/fuzz_%: $(B)/fuzz/obj/tests/fuzz/fuzz_%.o $(B)/fuzz/libbailey.a
	@echo "  LD    $@"
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# The caller's SECONDS is bash's variable too; it is handed on as an argument only.
.PHONY: fuzz
unexport SECONDS
fuzz: $(foreach t,$(TARGET),$(B)/fuzz/fuzz_$(t)) ## libFuzzer: SECONDS=60 per target, TARGET=config …
	@tests/fuzz/run $(B)/fuzz $(SECONDS) $(TARGET)

# The same targets without libFuzzer, with the compiler and flags of the build at hand.
REPLAYS := $(FUZZ_TARGETS:%=$(B)/replay/replay_%)
$(B)/replay/replay_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(B)/libbailey.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(BASE_LDFLAGS) -o $@ $^ $(LIBS) $(LDFLAGS)

.PHONY: replay-build replay
replay-build:
ifdef SAN
replay-build: $(REPLAYS)
else
	@$(MAKE) --no-print-directory SAN=1 replay-build
endif
replay: replay-build ## the fuzz targets over their corpus, under the sanitizers
	@tools/check $(B) replay

-include $(FUZZ_OBJS:.o=.d) $(wildcard $(B)/fuzz/obj/tests/fuzz/*.d)
-include $(FUZZ_TARGETS:%=$(B)/obj/tests/fuzz/fuzz_%.d)
