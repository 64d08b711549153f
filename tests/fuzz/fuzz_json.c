/* The JSON reader and writer: what was read and written must read back as the same text. */
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

static void walk(struct arena *a, const struct json *node, unsigned depth)
{
	MUST(depth <= JSON_MAX_DEPTH);
	MUST(json_path(a, node)[0] == '.');
	if (node->type == JSON_STRING)
		MUST(strlen(node->s) == node->len);
	if (node->type != JSON_ARRAY && node->type != JSON_OBJECT)
		return;
	size_t n = 0;
	json_foreach (child, node) {
		MUST(child->parent == node);
		if (node->type == JSON_OBJECT)
			MUST(json_get(node, child->key) == child);
		walk(a, child, depth + 1);
		n++;
	}
	MUST(n == node->len);
}

static char *write_out(const struct json *node, bool pretty, size_t *n)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(pretty);
	json_gen_node(g, node);
	const char *text = json_gen_text(g, n);
	return fuzz_string((const uint8_t *)text, *n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 65536)
		return 0;
	struct err e = ERR_INIT;
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *node = NULL, *again = NULL;
	int r = json_parse(a, "input", (const char *)data, size, &node, &e);
	must_be_consistent(r, &e);
	if (r < 0) {
		MUST(node == NULL);
		return 0;
	}
	walk(a, node, 0);

	size_t n1, n2;
	char *first = write_out(node, size % 2, &n1);
	MUST(json_parse(a, "written", first, n1, &again, &e) == 0);
	char *second = write_out(again, size % 2, &n2);
	MUST(n1 == n2 && memcmp(first, second, n1) == 0);
	free(first);
	free(second);
	return 0;
}
