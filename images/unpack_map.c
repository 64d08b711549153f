/* Open addressing; keys are inode numbers or keyed hashes, neither of which a layer chooses freely.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "images/unpack_internal.h"

/* fmix64 of MurmurHash3 (public domain): inode numbers are dense. */
static size_t spread(uint64_t k)
{
	k ^= k >> 33;
	k *= 0xff51afd7ed558ccdull;
	k ^= k >> 33;
	k *= 0xc4ceb9fe1a85ec53ull;
	return (size_t)(k ^ k >> 33);
}

static struct u64pair *slot(const struct u64map *m, uint64_t key)
{
	size_t i = spread(key) & (m->cap - 1);

	while (m->slots[i].key && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

uint64_t *u64map_get(const struct u64map *m, uint64_t key)
{
	struct u64pair *p;

	if (m->cap == 0)
		return NULL;
	p = slot(m, key);
	return p->key ? &p->value : NULL;
}

static void grow(struct u64map *m)
{
	struct u64map old = *m;

	m->cap = old.cap ? old.cap * 2 : 256;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].key)
			*slot(m, old.slots[i].key) = old.slots[i];
	free(old.slots);
}

void u64map_put(struct u64map *m, uint64_t key, uint64_t value)
{
	struct u64pair *p;

	if (m->n * 2 >= m->cap)
		grow(m);
	p = slot(m, key);
	if (!p->key)
		m->n++;
	*p = (struct u64pair){ key, value };
}

void u64map_free(struct u64map *m)
{
	free(m->slots);
	*m = (struct u64map){ 0 };
}
