# Included by the Makefile: what tests/host/test_machine.py runs. The guest's init is static, and never
# built with sanitizers.

MACHINE := $(B)/tests/machine/monitor $(B)/tests/machine/init

$(B)/tests/machine/monitor: $(B)/obj/tests/machine/monitor.o $(B)/libbailey.a $(B)/linkflags
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(BASE_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS) $(LDFLAGS)

$(B)/tests/machine/init: tests/machine/init.c
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O1 -static -s -o $@ $<

tests: $(MACHINE)

-include $(B)/obj/tests/machine/monitor.d
