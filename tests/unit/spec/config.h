/* Configurations for tests: a valid one with gaps to fill. */
#pragma once
#include <stdlib.h>

#include "base/alloc.h"
#include "spec/spec.h"
#include "tests/unit/test.h"

#define NS_ALL                                                                          \
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"}," \
	"{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"},{\"type\":\"time\"}]"
#define PROCESS	   "\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"]}"
#define BASE(text) "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"}" text "}"
/* Members of the document, of process, of linux (with namespaces), of linux.resources. Each starts
 * with a comma. */
#define DOC(text)	BASE("," PROCESS text)
#define PROC(text)	BASE(",\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"]" text "}")
#define LINUX(text)	DOC(",\"linux\":{" NS_ALL text "}")
#define RESOURCES(text) LINUX(",\"resources\":{" text "}")

static inline struct spec *load(const char *text, struct err *e)
{
	struct spec *s = NULL;

	*e = (struct err)ERR_INIT;
	spec_parse("config.json", "/bundle", text, strlen(text), &s, e);
	return s;
}

/* The spec, or a failed test. */
static inline struct spec *must_load(const char *text)
{
	struct err e;
	struct spec *s = load(text, &e);

	if (!s) {
		printf("# refused: %s\n# by: %s\n", text, e.msg);
		test_failed = 1;
	}
	return s;
}
