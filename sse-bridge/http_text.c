/*
 * sse-bridge/http_text.c
 *	  Characters, percent-encoding, UTF-8 and the names of statuses.
 *
 * The rule: what is malformed is refused, never repaired, so that no two readers of the same bytes
 * can take them for different texts.
 */
#include <stdint.h>
#include <string.h>

#include "http_text.h"

bool
http_is_token(char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

int
http_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Bytes of the sequence that begins here, 0 where none does. least is its smallest code point. */
static size_t
utf8_length(uint8_t first, uint32_t *least, uint32_t *code)
{
	if (first < 0x80)
	{
		*least = 0;
		*code = first;
		return 1;
	}
	if (first >= 0xC2 && first < 0xE0)
	{
		*least = 0x80;
		*code = first & 0x1F;
		return 2;
	}
	if (first >= 0xE0 && first < 0xF0)
	{
		*least = 0x800;
		*code = first & 0x0F;
		return 3;
	}
	if (first >= 0xF0 && first < 0xF5)
	{
		*least = 0x10000;
		*code = first & 0x07;
		return 4;
	}
	return 0;
}

bool
http_is_utf8(const char *text, size_t len)
{
	const uint8_t *s = (const uint8_t *) text;

	for (size_t i = 0; i < len;)
	{
		uint32_t least = 0, code = 0;
		size_t n = utf8_length(s[i], &least, &code);

		if (n == 0 || n > len - i)
			return false;
		for (size_t k = 1; k < n; k++)
		{
			if ((s[i + k] & 0xC0) != 0x80)
				return false;
			code = code << 6 | (s[i + k] & 0x3F);
		}
		if (code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
			return false;
		i += n;
	}
	return true;
}

bool
http_decode(const char *text, size_t len, bool plus, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
	{
		char c = text[i];

		if (c == '%')
		{
			int high = len - i > 2 ? http_hex(text[i + 1]) : -1;
			int low = len - i > 2 ? http_hex(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char) (high << 4 | low);
			i += 2;
		}
		else if (c == '+' && plus)
			c = ' ';
		if (c == '\0')
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return http_is_utf8(out, n);
}

const char *
http_reason(int status)
{
	static const struct
	{
		int status;
		const char *name;
	} reasons[] = {
		{100, "Continue"},
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{206, "Partial Content"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{303, "See Other"},
		{304, "Not Modified"},
		{307, "Temporary Redirect"},
		{308, "Permanent Redirect"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{402, "Payment Required"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{406, "Not Acceptable"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{410, "Gone"},
		{411, "Length Required"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{416, "Range Not Satisfiable"},
		{417, "Expectation Failed"},
		{421, "Misdirected Request"},
		{422, "Unprocessable Content"},
		{425, "Too Early"},
		{426, "Upgrade Required"},
		{428, "Precondition Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
	{
		if (reasons[i].status == status)
			return reasons[i].name;
	}
	return "Unknown";
}
