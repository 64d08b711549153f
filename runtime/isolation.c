#include "runtime/isolation.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

const char *const isolation_names[ISOLATION_LEVELS] = {
	[ISOLATION_NAMESPACE] = "namespace",
	[ISOLATION_VM] = "vm",
};

#define PROGRAM_VM "bailey-vm"

int isolation_parse(const char *name, enum isolation *ret)
{
	for (int i = 0; i < ISOLATION_LEVELS; i++) {
		if (!streq(name, isolation_names[i]))
			continue;
		*ret = (enum isolation)i;
		return 0;
	}
	return -EINVAL;
}

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

enum pod_part pod_part_of(const struct spec *s)
{
	static const char *const keys[] = {
		"io.kubernetes.cri.container-type",  /* containerd */
		"io.kubernetes.cri-o.ContainerType", /* CRI-O */
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *part = spec_map_get(&s->annotations, keys[i]);

		if (part && streq(part, "sandbox"))
			return POD_SANDBOX;
		if (part && streq(part, "container"))
			return POD_CONTAINER;
	}
	return POD_NONE;
}

int isolation_choose(const char *flag, const struct spec *s, const char *program,
    const struct settings *settings, enum isolation *ret, struct err *e)
{
	const struct {
		const char *where, *value;
	} words[] = {
		{ "--isolation", flag },
		{ "config.json: .annotations[\"" ISOLATION_ANNOTATION "\"]",
		    spec_map_get(&s->annotations, ISOLATION_ANNOTATION) },
		{ "config.json: .vm", s->vm.has ? "vm" : NULL },
		{ "the annotation of a pod's sandbox",
		    pod_part_of(s) == POD_SANDBOX ? "namespace" : NULL },
		{ "the program's name",
		    program && streq(last_component(program), PROGRAM_VM) ? "vm" : NULL },
		{ settings->path, settings->isolation },
		{ "no word of another", "namespace" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!words[i].value)
			continue;
		if (isolation_parse(words[i].value, ret) < 0)
			return err_set(e, EINVAL, "%s: \"%s\": must be namespace or vm",
			    words[i].where, words[i].value);
		log_debug("isolation: %s, by %s", isolation_names[*ret], words[i].where);
		return 0;
	}
	return err_set(e, EINVAL, "isolation: no level");
}
