/* An archive as an image's source, from the tar to the image: by the first byte's last bit an OCI
 * layout or what docker writes. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "images/images.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_image_source_ struct image_source *s = NULL;
	struct image_platform any = { 0 };
	struct err e = ERR_INIT, f = ERR_INIT;
	struct image *im = NULL;
	char source[64];
	int fd, r;

	if (size == 0)
		return 0;
	fd = memfd_create("archive", MFD_CLOEXEC);
	MUST(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
	snprintf(source, sizeof(source), "%s-archive:/proc/self/fd/%d",
	    data[0] & 1 ? "docker" : "oci", fd);
	r = image_source_open(source, NULL, &s, &e);
	close(fd);
	must_be_consistent(r, &e);
	if (r < 0) {
		MUST(s == NULL);
		return 0;
	}
	r = image_resolve(s, &any, &im, &f);
	must_be_consistent(r, &f);
	MUST((r == 0) == (im != NULL));
	if (im)
		MUST(im->n_layers > 0 && im->n_layers <= IMAGE_LAYERS_MAX);
	image_free(im);
	return 0;
}
