/*
 * src/ff_statistics.c
 *	  What of statistics the analysis of experiments needs.
 *
 * The rule: finite sums of terms that can't overflow, so that every answer is a probability.
 */
#include "ff.h"

#include <math.h>

#include "miscadmin.h"

static double
log_normal_density(double x_squared)
{
	return -0.5 * (x_squared + log(2 * M_PI));
}

/*
 * The upper tail of the chi-squared distribution, Q(chi² | degrees), by the closed forms of
 * Abramowitz & Stegun, Handbook of Mathematical Functions, 26.4.4 for odd and 26.4.5 for even
 * degrees:
 *
 *		odd:	2 Q(chi) + 2 Z(chi) * (chi/1 + chi³/(1*3) + ... + chi^(d-2)/(1*3*...*(d-2)))
 *		even:	sqrt(2 pi) Z(chi) * (1 + chi²/2 + chi⁴/(2*4) + ... + chi^(d-2)/(2*4*...*(d-2)))
 *
 * Z and Q are density and upper tail of the normal distribution. Terms are kept as logarithms and
 * with the factor before the sum, because a power may overflow where the density underflows.
 */
static double
chi_squared_tail(double chi_squared, int degrees)
{
	bool odd = degrees % 2 == 1;
	double tail = odd ? erfc(sqrt(chi_squared / 2)) : 0;
	double growth = log(chi_squared);
	double term = odd ? M_LN2 + log_normal_density(chi_squared) + growth / 2 : -chi_squared / 2;

	for (int i = odd ? 1 : 0; i <= degrees - 2; i += 2)
	{
		CHECK_FOR_INTERRUPTS();
		tail += exp(term);
		term += growth - log(i + 2.0);
	}
	return Min(tail, 1);
}

PG_FUNCTION_INFO_V1(ff_chi_squared_p);

Datum
ff_chi_squared_p(PG_FUNCTION_ARGS)
{
	double chi_squared = PG_GETARG_FLOAT8(0);
	int32 degrees = PG_GETARG_INT32(1);

	if (isnan(chi_squared) || chi_squared < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("chi_squared must not be negative, nor NaN")));
	if (degrees < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("degrees of freedom must be at least 1")));

	/* neither has a logarithm to go on with */
	if (chi_squared == 0 || isinf(chi_squared))
		PG_RETURN_FLOAT8(chi_squared == 0 ? 1 : 0);
	PG_RETURN_FLOAT8(chi_squared_tail(chi_squared, degrees));
}
