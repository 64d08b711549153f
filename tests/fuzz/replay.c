/* Runs a fuzz target over files, without libFuzzer: `replay_X FILE-OR-DIRECTORY…`. */
#include <dirent.h>

#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static unsigned replay_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "r");
	if (!f || fseek(f, 0, SEEK_END) < 0) {
		perror(path);
		exit(1);
	}
	long n = ftell(f);
	rewind(f);
	/* Exactly as large as the input, so that ASan sees a read beyond it. */
	_cleanup_free_ uint8_t *buf = malloc(n ? n : 1);
	if (n < 0 || !buf || fread(buf, 1, n, f) != (size_t)n) {
		perror(path);
		exit(1);
	}
	fprintf(stderr, "# %s\n", path);
	LLVMFuzzerTestOneInput(buf, n);
	return 1;
}

static unsigned replay(const char *path)
{
	_cleanup_closedir_ DIR *d = opendir(path);
	if (!d)
		return replay_file(path);
	unsigned count = 0;
	for (struct dirent *de; (de = readdir(d));) {
		char sub[4096];
		if (de->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, de->d_name);
		count += replay_file(sub);
	}
	return count;
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	for (int i = 1; i < argc; i++)
		count += replay(argv[i]);
	printf("%u inputs\n", count);
	return count ? 0 : 1;
}
