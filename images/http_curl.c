#include "images/http_curl.h"

#include "images/loadlib.h"

#include "base/cleanup.h"

struct http_curl http_curl;

static const struct loadlib_symbol symbols[] = {
#define X(f) { #f, (void **)&http_curl.f },
	CURL_FUNCTIONS(X)
#undef X
};
static struct loadlib library =
    LOADLIB_INIT("libcurl.so.4", "Debian: libcurl4, for registries", symbols);

static CURLcode initialised;

static void init(void)
{
	initialised = http_curl.curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_curl_load(struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int r = loadlib(&library, e);

	if (r < 0)
		return r;
	pthread_once(&once, init);
	if (initialised != CURLE_OK)
		return err_set(e, ENOSYS, "libcurl does not start: error %d", initialised);
	return 0;
}
