/* D-Bus by libsystemd's sd-bus(3), which is loaded when the first connection is opened: only the
 * systemd cgroup driver pays for it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
/* Types and prototypes only; the functions are reached through the table below. */
#include <systemd/sd-bus.h>

#include "base/err.h"

#define SDBUS_FUNCTIONS(X)                \
	X(sd_bus_open_system)             \
	X(sd_bus_open_user)               \
	X(sd_bus_flush_close_unref)       \
	X(sd_bus_match_signal_async)      \
	X(sd_bus_slot_unref)              \
	X(sd_bus_process)                 \
	X(sd_bus_wait)                    \
	X(sd_bus_call)                    \
	X(sd_bus_get_property_string)     \
	X(sd_bus_error_free)              \
	X(sd_bus_error_has_name)          \
	X(sd_bus_message_new_method_call) \
	X(sd_bus_message_append_basic)    \
	X(sd_bus_message_open_container)  \
	X(sd_bus_message_close_container) \
	X(sd_bus_message_read_basic)      \
	X(sd_bus_message_unref)

struct sdbus_api {
#define X(f) __typeof__(&f) f;
	SDBUS_FUNCTIONS(X)
#undef X
};
extern struct sdbus_api sdb;
int sdbus_load(struct err *e);

static inline void sdbus_messagep(sd_bus_message **m)
{
	if (*m)
		sdb.sd_bus_message_unref(*m);
}
static inline void sdbus_slotp(sd_bus_slot **s)
{
	if (*s)
		sdb.sd_bus_slot_unref(*s);
}
static inline void sdbus_errorp(sd_bus_error *error)
{
	sdb.sd_bus_error_free(error);
}
#define _cleanup_message_   __attribute__((cleanup(sdbus_messagep)))
#define _cleanup_slot_	    __attribute__((cleanup(sdbus_slotp)))
#define _cleanup_bus_error_ __attribute__((cleanup(sdbus_errorp)))
