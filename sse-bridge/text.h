/*
 * sse-bridge/text.h
 *	  Text that grows, and looking into text.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A text that grows. Start with all bytes zero; bytes is NULL or null-terminated, and freed by
 * text_free. When there is no memory, has_failed is set and stays so, and nothing more is added.
 */
typedef struct text
{
	char *bytes;
	size_t len;
	size_t room;
	bool has_failed;
} text;

extern void text_add(text *to, const char *bytes, size_t len);
extern void text_adds(text *to, const char *string);
extern void text_addf(text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a JSON string, with its quotes; what is no UTF-8 comes as U+FFFD. */
extern void text_add_json(text *to, const char *string, size_t len);

extern void text_free(text *one);

/*
 * Whether key or description (NULL: none), with a space between, has a piece in it, whatever their
 * case: as ff_flags() looks for it, by the locale's case mapping.
 */
extern bool text_has(const char *key, const char *description, const char *piece);

#endif /* TEXT_H */
