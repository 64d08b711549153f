/*
 * What lies in /boot and /lib/modules: modules.dep and modules.builtin (the text up to the first
 * NUL and what follows it), and, with 'k' as the first byte, a kernel image.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/fuzz/fuzz.h"
#include "vm/kernel_file.h"
#include "vm/modules.h"

static void kernel(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", 0);
	enum vm_kernel_format f;
	struct err e = ERR_INIT;
	char *release = NULL;
	int r;

	MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	r = kernel_file_identify(fd, "kernel", &f, &release, &e);
	must_be_consistent(r, &e);
	MUST((r == 0) == (release != NULL));
	MUST(!release || kernel_release_valid(release));
	free(release);
	close(fd);
}

static void modules(const char *dep, const char *builtin)
{
	size_t n, files;
	const struct module_wanted *w = modules_wanted(VM_DISKS_SCRATCH, &n);
	struct err e = ERR_INIT;
	char **v = NULL;
	int r = modules_closure("6.1-x", dep, builtin, w, n, &v, &e);

	must_be_consistent(r, &e);
	MUST(r == 0 || !v);
	files = strv_len(v);
	MUST(files <= MODULES_MAX);
	for (size_t i = 0; i < files; i++) {
		MUST(*v[i] && *v[i] != '/' && !strchr(v[i], '\n'));
		MUST(!streq(v[i], "..") && !startswith(v[i], "../") && !strstr(v[i], "/../"));
		MUST(module_compression(v[i]) != NULL);
		for (size_t j = 0; j < i; j++)
			MUST(!streq(v[i], v[j]));
	}
	strv_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s, *second;

	if (size && *data == 'k') {
		kernel(data + 1, size - 1);
		return 0;
	}
	s = fuzz_string(data, size);
	second = strlen(s) < size ? s + strlen(s) + 1 : s + size;
	modules(s, second);
	modules_kernel_decompresses(s, "xz");
	free(s);
	return 0;
}
