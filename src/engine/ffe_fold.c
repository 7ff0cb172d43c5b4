/*
 * src/engine/ffe_fold.c
 *	  Case folding for ignore_case.
 *
 * The rule: folding is Unicode's simple case folding (one code point to one code point), from a
 * table of our own, so that it is the same on every machine and under every locale. Input is valid
 * UTF-8; folding keeps it so.
 */
#include "ffe_internal.h"
#include "ffe_casefold.h"

#define FOLD_RANGES (sizeof(ffe_fold_ranges) / sizeof(ffe_fold_ranges[0]))

static uint32_t
fold_code_point(uint32_t c)
{
	size_t low = 0, high = FOLD_RANGES;

	while (low < high)
	{
		size_t middle = (low + high) / 2;
		const ffe_fold_range *range = &ffe_fold_ranges[middle];

		if (c < range->first)
			high = middle;
		else if (c > range->last)
			low = middle + 1;
		else
			return (c - range->first) % (uint32_t) range->step == 0
					   ? (uint32_t) ((int32_t) c + range->delta)
					   : c;
	}
	return c;
}

/* Decodes one code point of valid UTF-8; a broken byte is taken as it is. */
static uint32_t
decode(const char **s, const char *end)
{
	const unsigned char *p = (const unsigned char *) *s;
	uint32_t n = p[0] < 0xC0 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
	uint32_t c;

	if (n == 1 || (size_t) (end - *s) < n)
	{
		(*s)++;
		return p[0];
	}
	c = p[0] & (0x7Fu >> n);
	for (uint32_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3F);
	*s += n;
	return c;
}

static size_t
encode(uint32_t c, char *out)
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xC0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xE0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3F));
		out[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3F));
	out[2] = (char) (0x80 | (c >> 6 & 0x3F));
	out[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/* The folded code point at *s, which moves behind it. */
uint32_t
ffe_fold_next(const char **s, const char *end)
{
	unsigned char c = (unsigned char) **s;

	if (c < 0x80)
	{
		(*s)++;
		return c >= 'A' && c <= 'Z' ? c + 32u : c;
	}
	return fold_code_point(decode(s, end));
}

size_t
ffe_fold(const char *s, size_t len, char *out, size_t size)
{
	const char *end = s + len;
	size_t n = 0;

	while (s < end)
	{
		char bytes[4];
		size_t k = encode(ffe_fold_next(&s, end), bytes);

		if (n + k > size)
			return SIZE_MAX;
		memcpy(out + n, bytes, k);
		n += k;
	}
	return n;
}
