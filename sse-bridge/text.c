/*
 * sse-bridge/text.c
 *	  Text that grows, and looking into text.
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* ---------- growing ---------- */

static bool
reserve(text *to, size_t len)
{
	size_t room = to->room == 0 ? 256 : to->room;
	char *grown;

	if (to->has_failed)
		return false;
	if (to->len + len + 1 <= to->room)
		return true;
	while (room < to->len + len + 1)
		room *= 2;
	grown = realloc(to->bytes, room);
	if (grown == NULL)
	{
		to->has_failed = true;
		return false;
	}
	to->bytes = grown;
	to->room = room;
	return true;
}

void
text_add(text *to, const char *bytes, size_t len)
{
	if (!reserve(to, len))
		return;
	memcpy(to->bytes + to->len, bytes, len);
	to->len += len;
	to->bytes[to->len] = '\0';
}

void
text_adds(text *to, const char *string)
{
	text_add(to, string, strlen(string));
}

void
text_addf(text *to, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0 || !reserve(to, (size_t) len))
		return;
	va_start(args, format);
	vsnprintf(to->bytes + to->len, (size_t) len + 1, format, args);
	va_end(args);
	to->len += (size_t) len;
}

/* Bytes of the UTF-8 character that begins here; 0 where none does. */
static size_t
character(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80   ? 1
			   : s[0] < 0xc2 ? 0
			   : s[0] < 0xe0 ? 2
			   : s[0] < 0xf0 ? 3
			   : s[0] < 0xf5 ? 4
							 : 0;

	if (n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
	{
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		(s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void
text_add_json(text *to, const char *string, size_t len)
{
	const unsigned char *s = (const unsigned char *) string;

	text_add(to, "\"", 1);
	while (len > 0)
	{
		size_t n = character(s, len);

		if (n == 0)
			text_adds(to, "\\ufffd");
		else if (*s == '"' || *s == '\\')
			text_addf(to, "\\%c", *s);
		else if (*s < 0x20)
			text_addf(to, "\\u%04x", *s);
		else
			text_add(to, (const char *) s, n);
		n = n == 0 ? 1 : n;
		s += n;
		len -= n;
	}
	text_add(to, "\"", 1);
}

void
text_free(text *one)
{
	free(one->bytes);
	memset(one, 0, sizeof(*one));
}

/* ---------- looking ---------- */

/* In lower case, as wide characters; NULL where it is no text, or there is no memory. */
static wchar_t *
lower(const char *string)
{
	size_t room = strlen(string) + 1;
	wchar_t *wide = malloc(sizeof(wchar_t) * room);

	if (wide == NULL || mbstowcs(wide, string, room) == (size_t) -1)
	{
		free(wide);
		return NULL;
	}
	for (wchar_t *c = wide; *c != L'\0'; c++)
		*c = (wchar_t) towlower((wint_t) *c);
	return wide;
}

bool
text_has(const char *key, const char *description, const char *piece)
{
	text whole = {0};
	wchar_t *in, *what = lower(piece);
	bool found;

	text_addf(&whole, "%s%s%s", key, description == NULL ? "" : " ",
			  description == NULL ? "" : description);
	in = whole.bytes == NULL ? NULL : lower(whole.bytes);
	found = in != NULL && what != NULL && wcsstr(in, what) != NULL;
	free(in);
	free(what);
	text_free(&whole);
	return found;
}
