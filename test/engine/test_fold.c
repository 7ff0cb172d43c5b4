/*
 * test/engine/test_fold.c
 *	  ignore_case: Unicode's simple case folding, the same whatever the locale.
 */
#include "world.h"

#include <locale.h>

/* Two strings, and whether they are one where case is ignored. */
static const struct
{
	const char *a;
	const char *b;
	bool equal;
} pairs[] = {
	/* ASCII, and what lies beside the letters */
	{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", true},
	{"@[`{", "@[`{", true},
	{"@", "`", false},
	{"[", "{", false},
	{"0123456789", "0123456789", true},
	/* Latin-1 and beyond: lengths differ from one form to the other */
	{"ÄÖÜ", "äöü", true},
	{"ÀÉÎÕÞ", "àéîõþ", true},
	{"×", "÷", false},
	{"ŸŒŠ", "ÿœš", true},
	{"\u212A", "k", true}, /* KELVIN SIGN: three bytes for one */
	{"\u212A", "K", true},
	{"\u212B", "å", true},      /* ANGSTROM SIGN */
	{"\u2126", "ω", true},      /* OHM SIGN */
	{"\u00B5", "\u03BC", true}, /* MICRO SIGN, MU */
	{"\u017F", "S", true},      /* LATIN SMALL LETTER LONG S */
	{"\u01C4", "\u01C6", true}, /* DZ WITH CARON: upper, lower and title case */
	{"\u01C5", "\u01C6", true},
	{"\u1E9E", "ß", true}, /* CAPITAL SHARP S */
	/* simple folding maps one character to one: these are full folding's */
	{"STRASSE", "straße", false},
	{"STRASSE", "strasse", true},
	{"STRAẞE", "straße", true},
	{"\uFB01", "fi", false}, /* LIGATURE FI */
	{"ŉ", "ʼn", false},
	/* Turkish i's are for Turkish locales only */
	{"I", "i", true},
	{"I", "ı", false},
	{"İ", "i", false},
	{"İ", "İ", true},
	/* Greek, with a final sigma */
	{"ΟΔΥΣΣΕΥΣ", "οδυσσευς", true},
	{"ΟΔΥΣΣΕΥΣ", "οδυσσευσ", true},
	{"Ά", "ά", true},
	{"Ά", "α", false},
	/* Cyrillic, Armenian, Georgian, Cherokee, Deseret */
	{"МОСКВА", "москва", true},
	{"ЁЂҐ", "ёђґ", true},
	{"МОСКВА", "москвб", false},
	{"\u0531", "\u0561", true},
	{"\u1C90", "\u10D0", true},
	{"\uAB70", "\u13A0", true},
	{"\u13F8", "\u13F0", true},
	{"\U00010400", "\U00010428", true},
	{"\U0001E900", "\U0001E922", true},
	/* what has no case */
	{"日本語", "日本語", true},
	{"日本語", "日本话", false},
	{"😀", "😀", true},
	{"\U0010FFFD", "\U0010FFFD", true},
	{"\uFFFD", "\uFFFD", true},
};

static void
is_simple_folding(void **state)
{
	(void) state;
	for (size_t i = 0; i < LENGTH(pairs); i++)
	{
		const char *a = text("'%s'", pairs[i].a);
		const char *b = text("'%s'", pairs[i].b);
		bool equal = pairs[i].equal;
		op_row rows[] = {
			{"equals", a, b, equal},
			{"equals", b, a, equal},
			{"not_equals", a, b, !equal},
			{"in_list", text("['x', %s]", a), b, equal},
			{"not_in_list", text("['x', %s]", b), a, !equal},
			{"contains", a, text("['x', %s]", b), equal},
		};
		op_row as_bytes[] = {{"equals", a, b, strcmp(a, b) == 0}};

		check_op_rows_ignoring_case(rows);
		check_op_rows(as_bytes);
	}
}

/* Parts of strings are found, whatever lengths the two forms have. */
static void
in_parts(void **state)
{
	static const op_row rows[] = {
		{"contains", "'ΔΥΣ'", "'ο οδυσσευς'", true},
		{"contains", "'k'", "'273 \u212A!'", true},
		{"contains", "'\u212A'", "'ok'", true},
		{"contains", "'\u212A!'", "'ok!'", true},
		{"contains", "'\u212Ax'", "'ok!'", false},
		{"contains", "'ss'", "'straße'", false},
		{"not_contains", "'МОСК'", "'в москве'", false},
		{"starts_with", "'\u212Ael'", "'kelvin'", true},
		{"starts_with", "'kel'", "'\u212AELVIN'", true},
		{"starts_with", "'МОС'", "'москва'", true},
		{"starts_with", "'kelvins'", "'\u212AELVIN'", false},
		{"ends_with", "'K'", "'273\u212A'", true},
		{"ends_with", "'273\u212A'", "'273k'", true},
		{"ends_with", "'0273\u212A'", "'273k'", false},
		{"ends_with", "'СКВА'", "'москва'", true},
		{"ends_with", "'ΕΥΣ'", "'οδυσσευς'", true},
		{"regex", "'^\u212A$'", "'k'", true},
		{"regex", "'^москва$'", "'МОСКВА'", true},
	};

	(void) state;
	check_op_rows_ignoring_case(rows);
}

/* Strings around the lengths where a buffer would end. */
static void
of_any_length(void **state)
{
	(void) state;
	for (size_t len = 1; len <= 4096; len = len < 70 ? len + 1 : len * 2 - 61)
	{
		const char *upper = text("'%s'", repeat('A', len));
		const char *lower = text("'%s'", repeat('a', len));
		const char *other = text("'%sb'", repeat('a', len - 1));
		op_row rows[] = {
			{"equals", upper, lower, true},      {"equals", upper, other, false},
			{"starts_with", upper, lower, true}, {"ends_with", upper, other, false},
			{"contains", upper, lower, true},    {"contains", other, upper, false},
		};

		check_op_rows_ignoring_case(rows);
	}
}

/* Attributes are not bounded as definitions are: a long one still compares right. */
static void
of_long_attributes(void **state)
{
	const char *hay = text("'%sK'", repeat('A', 300000));
	op_row rows[] = {
		{"equals", "'aaa'", hay, false},          {"not_equals", "'aaa'", hay, true},
		{"starts_with", "'aaa'", hay, true},      {"ends_with", "'aak'", hay, true},
		{"contains", "'ak'", hay, true},          {"contains", "'\u212A'", hay, true},
		{"contains", "'kk'", hay, false},         {"in_list", "['a', 'b']", hay, false},
		{"not_in_list", "['a', 'b']", hay, true},
	};

	(void) state;
	check_op_rows_ignoring_case(rows);
}

static void
in_any_locale(void **state)
{
	static const op_row rows[] = {
		{"equals", "'TITLE I'", "'title i'", true},
		{"equals", "'TITLE I'", "'tıtle ı'", false},
	};

	(void) state;
	if (setlocale(LC_ALL, "tr_TR.UTF-8") == NULL)
		print_message("no Turkish locale here: checked in the C locale alone\n");
	check_op_rows_ignoring_case(rows);
	setlocale(LC_ALL, "C");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_simple_folding), cmocka_unit_test(in_parts),
		cmocka_unit_test(of_any_length),     cmocka_unit_test(of_long_attributes),
		cmocka_unit_test(in_any_locale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
