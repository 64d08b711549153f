/* State JSON (runtime.md#state) with what engines read besides. */
#include "base/alloc.h"
#include "spec/spec.h"

static void optional(struct json_gen *g, const char *key, const char *value)
{
	if (value)
		json_gen_kstr(g, key, value);
}

char *spec_state_json(const struct spec_state *s, bool pretty)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(pretty);

	json_gen_map(g);
	json_gen_kstr(g, "ociVersion", OCI_VERSION);
	json_gen_kstr(g, "id", s->id);
	json_gen_kint(g, "pid", s->pid);
	json_gen_kstr(g, "status", s->status);
	json_gen_kstr(g, "bundle", s->bundle);
	optional(g, "rootfs", s->rootfs);
	optional(g, "created", s->created);
	if (s->annotations && s->annotations->n) {
		json_gen_key(g, "annotations");
		json_gen_map(g);
		for (size_t i = 0; i < s->annotations->n; i++)
			json_gen_kstr(g, s->annotations->v[i].key, s->annotations->v[i].value);
		json_gen_end(g);
	}
	optional(g, "owner", s->owner);
	optional(g, "isolation", s->isolation);
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}
