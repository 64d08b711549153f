#include "cgroups/sdbus.h"

#include <dlfcn.h>

struct sdbus_api sdb;

int sdbus_load(struct err *e)
{
	static bool loaded;
	struct sdbus_api api;
	void *lib;

	if (loaded)
		return 0;
	lib = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return err_set(e, ENOENT,
		    "load libsystemd (Debian: libsystemd0), for the systemd cgroup manager: %s",
		    dlerror());
#define X(f)                                    \
	api.f = (__typeof__(&f))dlsym(lib, #f); \
	if (!api.f)                             \
		return err_set(e, ENOSYS, "libsystemd.so.0 lacks %s", #f);
	SDBUS_FUNCTIONS(X)
#undef X
	sdb = api;
	loaded = true;
	return 0;
}
