#include "vm/bus.h"

#include <string.h>

#include "vm/acpi.h"

enum {
	SERIAL = 0x3f8,
	SERIAL_STATUS = SERIAL + 5,
	SERIAL_READY = 0x60, /* transmitter empty */
	KEYBOARD_COMMAND = 0x64,
	KEYBOARD_RESET = 0xfe,
};

void bus_mmio(struct bus *b, uint64_t gpa, bool write, uint8_t *data, unsigned len)
{
	if (!write)
		memset(data, 0xff, len);
	if (gpa < VM_MMIO_BASE || gpa >= bus_window(b->n))
		return;
	uint64_t offset = gpa % VM_MMIO_SIZE;
	struct virtio_device *d = b->devices[(gpa - VM_MMIO_BASE) / VM_MMIO_SIZE];
	if (len > VM_MMIO_SIZE - offset)
		return;
	if (write)
		virtio_mmio_write(d, offset, data, len);
	else
		virtio_mmio_read(d, offset, data, len);
}

static bool write_port(
    struct bus *b, uint16_t port, uint8_t value, enum machine_end *end, const char **why)
{
	if (port == SERIAL && b->serial)
		b->serial(b->arg, value);
	if (port == ACPI_PORT_SLEEP && value & ACPI_SLEEP_ENABLE &&
	    ACPI_SLEEP_TYPE(value) == ACPI_S5) {
		*end = MACHINE_SHUTDOWN;
		*why = "the guest has switched itself off";
		return true;
	}
	if ((port == ACPI_PORT_RESET && value == ACPI_RESET_VALUE) ||
	    (port == KEYBOARD_COMMAND && value == KEYBOARD_RESET)) {
		*end = MACHINE_RESET;
		*why = "the guest has reset itself";
		return true;
	}
	return false;
}

static void read_port(const struct bus *b, uint16_t port, uint8_t *data, unsigned size)
{
	memset(data, 0xff, size);
	/* A kernel that resets by the keyboard controller waits for this to be 0. */
	if (port == ACPI_PORT_SLEEP || port == ACPI_PORT_SLEEP_STATUS || port == KEYBOARD_COMMAND)
		memset(data, 0, size);
	else if (b->serial && port >= SERIAL && port < SERIAL + 8)
		memset(data, port == SERIAL_STATUS ? SERIAL_READY : 0, size);
}

bool bus_port(struct bus *b, uint16_t port, bool write, uint8_t *data, unsigned size,
    unsigned count, enum machine_end *end, const char **why)
{
	for (unsigned i = 0; i < count; i++, data += size) {
		if (!write)
			read_port(b, port, data, size);
		else if (write_port(b, port, data[0], end, why))
			return true;
	}
	return false;
}
