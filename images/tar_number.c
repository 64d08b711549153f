#include <string.h>

#include "images/tar_internal.h"

/* Two's complement, big endian; the first byte's high bit only says so, the next is the sign. */
static int base256(const uint8_t *p, size_t n, int64_t *ret)
{
	bool negative = p[0] & 0x40;
	uint64_t v = negative ? UINT64_MAX : 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t b = i ? p[i] : (uint8_t)(negative ? p[0] | 0x80 : p[0] & 0x7f);
		uint8_t lost = (uint8_t)(v >> 56);

		if (lost != (negative ? 0xff : 0))
			return -EINVAL;
		v = v << 8 | b;
	}
	if (negative != (v >> 63 != 0))
		return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}

int tar_number_field(const uint8_t *p, size_t n, int64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if (p[0] & 0x80)
		return base256(p, n, ret);
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 60)
			return -EINVAL;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	if (i < n && p[i] != ' ' && p[i] != '\0')
		return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}

int tar_number_time(const char *s, struct timespec *ret)
{
	bool negative = *s == '-';
	uint64_t sec = 0;
	long ns = 0, unit = 100000000;
	bool digits = false;

	for (s += negative; *s >= '0' && *s <= '9'; s++, digits = true) {
		if (sec > INT64_MAX / 10 - 1)
			return -EINVAL;
		sec = sec * 10 + (uint64_t)(*s - '0');
	}
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++, digits = true) {
			ns += unit * (*s - '0'); /* beyond nanoseconds unit is 0 */
			unit /= 10;
		}
	}
	if (*s || !digits)
		return -EINVAL;
	*ret = (struct timespec){ .tv_sec = negative ? -(time_t)sec : (time_t)sec, .tv_nsec = ns };
	if (negative && ns) {
		ret->tv_sec--;
		ret->tv_nsec = 1000000000 - ns;
	}
	return 0;
}

/* The sum of all bytes, the field itself taken as blanks; some old writers summed signed chars. */
bool tar_checksum_ok(const uint8_t *block)
{
	int64_t want, sum = 8 * ' ', sum_signed = 8 * ' ';

	for (size_t i = 0; i < TAR_BLOCK; i++) {
		if (i >= 148 && i < 156)
			continue;
		sum += block[i];
		sum_signed += (int8_t)block[i];
	}
	return tar_number_field(block + 148, 8, &want) == 0 && (want == sum || want == sum_signed);
}

bool tar_is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}
