#include "images/loadlib.h"

#include <dlfcn.h>

#include "base/log.h"

static int load(struct loadlib *l, struct err *e)
{
	void *lib = dlopen(l->soname, RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return err_set(e, ENOENT, "load %s (%s): %s", l->soname, l->hint, dlerror());
	for (size_t i = 0; i < l->n; i++) {
		*l->symbols[i].to = dlsym(lib, l->symbols[i].name);
		if (!*l->symbols[i].to) {
			dlclose(lib);
			return err_set(e, ENOSYS, "%s lacks %s", l->soname, l->symbols[i].name);
		}
	}
	log_debug("loaded %s", l->soname);
	l->loaded = true; /* for good: what was handed out points into it */
	return 0;
}

int loadlib(struct loadlib *l, struct err *e)
{
	int r;

	pthread_mutex_lock(&l->lock);
	r = l->loaded ? 0 : load(l, e);
	pthread_mutex_unlock(&l->lock);
	return r;
}
