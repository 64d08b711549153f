/* Telling of layers as they come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "runtime/image_work.h"

#define BAR_WIDTH 30
#define REDRAW_MS 100
#define SHORT_HEX 12

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void draw(struct image_progress_state *p, const struct image *im, const char *what)
{
	char bar[BAR_WIDTH + 1];
	uint64_t have = 0;
	size_t full;

	for (size_t i = 0; i < p->n; i++)
		have += p->bytes[i];
	full = im->size ? (size_t)((double)have / (double)im->size * BAR_WIDTH) : BAR_WIDTH;
	full = full > BAR_WIDTH ? BAR_WIDTH : full;
	memset(bar, '#', full);
	memset(bar + full, '.', BAR_WIDTH - full);
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r\033[K[%s] %zu/%zu layers  %.1f/%.1f MB  %s", bar, p->done, p->n,
	    (double)have / 1e6, (double)im->size / 1e6, what);
	p->shown_at = now_ms();
}

static void line(struct image_progress_state *p, const struct image *im, size_t i, const char *what)
{
	const char *hex = strchr(im->layers[i].digest, ':') + 1;

	fprintf(stderr, "layer %zu/%zu %.*s %.1f MB: %s\n", i + 1, im->n_layers, SHORT_HEX, hex,
	    (double)im->layers[i].size / 1e6, what);
}

static void json_line(const struct image *im, const struct image_event *ev, const char *event)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	const struct image_layer *l = &im->layers[ev->layer];

	json_gen_map(g);
	json_gen_kstr(g, "event", event);
	if (ev->kind != IMAGE_SYNC) {
		json_gen_kuint(g, "layer", ev->layer + 1);
		json_gen_kuint(g, "layers", im->n_layers);
		json_gen_kstr(g, "digest", l->digest);
		json_gen_kuint(g, "bytes", ev->bytes);
		json_gen_kuint(g, "size", l->size);
	}
	json_gen_end(g);
	puts(json_gen_text(g, NULL));
	(void)fflush(stdout);
}

static void on_event(void *ctx, const struct image *im, const struct image_event *ev)
{
	static const struct {
		const char *json, *text;
	} names[] = {
		[IMAGE_LAYER_KNOWN] = { "known", "in the store" },
		[IMAGE_LAYER_BYTES] = { "progress", NULL },
		[IMAGE_LAYER_DONE] = { "done", "done" },
		[IMAGE_SYNC] = { "sync", NULL },
	};
	struct image_progress_state *p = ctx;
	bool bytes = ev->kind == IMAGE_LAYER_BYTES, often;

	if (!p->bytes) {
		p->n = im->n_layers;
		p->bytes = xcalloc(p->n, sizeof(*p->bytes));
	}
	if (ev->kind != IMAGE_SYNC)
		p->bytes[ev->layer] = ev->bytes;
	p->done += ev->kind == IMAGE_LAYER_KNOWN || ev->kind == IMAGE_LAYER_DONE;
	often = bytes && now_ms() - p->shown_at < REDRAW_MS;
	if (often)
		return;
	if (p->style == PROGRESS_JSON) {
		json_line(im, ev, names[ev->kind].json);
		p->shown_at = now_ms();
	} else if (p->terminal) {
		draw(p, im, ev->kind == IMAGE_SYNC ? "writing to the disk" : "");
	} else if (names[ev->kind].text) {
		line(p, im, ev->layer, names[ev->kind].text);
	}
}

void progress_init(struct image_progress_state *p, enum progress_style style)
{
	*p = (struct image_progress_state){
		.style = style,
		.terminal = isatty(STDERR_FILENO),
		.callback = { .fn = style == PROGRESS_QUIET ? NULL : on_event, .ctx = p },
	};
}

void progress_end(struct image_progress_state *p)
{
	if (p->bytes && p->terminal && p->style == PROGRESS_AUTO)
		fputs("\r\033[K", stderr);
	free(p->bytes);
	p->bytes = NULL;
}
