/* Private to namespaces/ and its tests: overlayfs as kernels before Linux 6.7 take it. */
#pragma once
#include "namespaces/namespaces.h"

/* overlay_open(); old: all layers in one option. */
int overlay_open_as(const struct overlay *o, bool old, struct err *e);
