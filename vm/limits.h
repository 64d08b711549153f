/* What a machine has at most, and what its parts share. */
#pragma once
#include <signal.h>

#define VM_VCPUS_MAX   32
#define VM_DEVICES_MAX 19 /* an interrupt line each, from VM_IRQ_BASE to the I/O APIC's last */
#define VM_IRQ_BASE    5
#define VM_KICK_SIGNAL SIGRTMAX /* makes a vCPU's thread look up; blocked in all others */
