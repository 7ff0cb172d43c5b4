/*
 * sse-bridge/http_text.h
 *	  Characters, percent-encoding, UTF-8 and the names of statuses.
 */
#ifndef HTTP_TEXT_H
#define HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether c may stand in a method or in the name of a header (RFC 9110, tchar). */
extern bool http_is_token(char c);

/* The value of a hexadecimal digit, -1 of anything else. */
extern int http_hex(char c);

/* Whether these bytes are UTF-8: shortest form, no surrogates, nothing beyond U+10FFFF. */
extern bool http_is_utf8(const char *text, size_t len);

/*
 * Decodes percent-encoding, and '+' to a space where plus is true, into out, which needs len + 1
 * bytes and is NUL-terminated. False where an escape is malformed, or where the outcome holds a
 * NUL or isn't UTF-8: nobody behind this function has to think of either.
 */
extern bool http_decode(const char *text, size_t len, bool plus, char *out);

/* What a status is called, "Not Found". */
extern const char *http_reason(int status);

#endif /* HTTP_TEXT_H */
