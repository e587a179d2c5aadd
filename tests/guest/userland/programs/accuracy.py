"""How near two machines' x87 transcendental results are to the true values: accuracy.py OURS THEIRS

Both files hold what libm-long.c printed. The true value is computed with 60 digits and more from the arguments as they are; errors are
counted in units of the last place of a 64-bit mantissa. A correctly rounded result has an error of at most 0.5.
"""

import sys
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 80
getcontext().Emin, getcontext().Emax = -10**7, 10**7
D = Decimal
LN2 = D(2).ln()


def value(word):
    """The number of an 80-bit pattern; None for infinities, NaNs and formats that hold no number."""
    sign_exponent, mantissa = int(word[:4], 16), int(word[4:], 16)
    exponent = sign_exponent & 0x7FFF
    if exponent == 0x7FFF:
        return None
    power = max(exponent, 1) - 16383 - 63
    magnitude = Fraction(mantissa) * Fraction(2) ** power
    return -magnitude if sign_exponent & 0x8000 else magnitude


def dec(x):
    return D(x.numerator) / D(x.denominator)


def pi():
    """Machin's formula, as a decimal."""
    scale = 10 ** (getcontext().prec + 10)

    def arccot(n):
        total = term = scale // n
        k, sign = 3, -1
        while term:
            term //= n * n
            total += sign * (term // k)
            k, sign = k + 2, -sign
        return total

    return D(4 * (4 * arccot(5) - arccot(239))) / D(scale)


PI = pi()
# The x87 reduces arguments by a pi of 66 bits (SDM volume 1, 8.3.8).
PI66 = D(int(PI * 2**64)) / D(2**64)


def sin_cos(x, modulus):
    quotient = (x / (modulus / 2)).to_integral_value()
    r = x - quotient * (modulus / 2)
    s, c, term, n = D(0), D(0), D(1), 0
    while abs(term) > D(10) ** -90 * max(abs(r), D(10) ** -30) or n < 4:
        if n % 2:
            s += term if n % 4 == 1 else -term
        else:
            c += term if n % 4 == 0 else -term
        n += 1
        term = term * r / n
        if term == 0:
            break
    return [(s, c), (c, -s), (-s, -c), (-c, s)][int(quotient) % 4]


def expm1(x):
    if abs(x) > 1:
        return x.exp() - 1
    total, term, n = D(0), x, 1
    while term and abs(term) > abs(x) * D(10) ** -80:
        total += term
        n += 1
        term = term * x / n
    return total


def log1p(x):
    if abs(x) > D("0.01"):
        return (1 + x).ln()
    # 2 artanh(x / (2 + x))
    z = x / (2 + x)
    total, term, n = D(0), z, 1
    while term and abs(term) > abs(z) * D(10) ** -80:
        total += term / n
        term, n = term * z * z, n + 2
    return 2 * total


def atan(x):
    if x < 0:
        return -atan(-x)
    if x > 1:
        return PI / 2 - atan(1 / x)
    halvings = 0
    while x > D("0.05"):
        x = x / (1 + (1 + x * x).sqrt())
        halvings += 1
    total, term, n = D(0), x, 1
    while term and abs(term) > abs(x) * D(10) ** -80:
        total += term / n
        term, n = -term * x * x, n + 2
    return total * 2**halvings


def atan2(y, x):
    if x == 0:
        return PI / 2 if y > 0 else -PI / 2
    angle = atan(y / x)
    return angle if x > 0 else angle + (PI if y >= 0 else -PI)


def cbrt(x):
    return -((-x).ln() / 3).exp() if x < 0 else (x.ln() / 3).exp()


TRUTH = {
    "f2xm1": lambda x: expm1(x * LN2),
    "fsin": lambda x: sin_cos(x, PI66)[0],
    "fcos": lambda x: sin_cos(x, PI66)[1],
    "fptan": lambda x: sin_cos(x, PI66)[0] / sin_cos(x, PI66)[1],
    "fpatan": lambda x, y: atan2(y, x),
    "fyl2x": lambda x, y: y * x.ln() / LN2,
    "fyl2xp1": lambda x, y: y * log1p(x) / LN2,
    "expl": lambda x: x.exp(),
    "exp2l": lambda x: (x * LN2).exp(),
    "exp10l": lambda x: (x * D(10).ln()).exp(),
    "expm1l": expm1,
    "logl": lambda x: x.ln(),
    "log2l": lambda x: x.ln() / LN2,
    "log10l": lambda x: x.log10(),
    "log1pl": log1p,
    "atanl": atan,
    "sinl": lambda x: sin_cos(x, PI)[0],
    "cosl": lambda x: sin_cos(x, PI)[1],
    "tanl": lambda x: sin_cos(x, PI)[0] / sin_cos(x, PI)[1],
    "sinhl": lambda x: (expm1(x) - expm1(-x)) / 2,
    "tanhl": lambda x: expm1(2 * x) / (expm1(2 * x) + 2),
    "cbrtl": cbrt,
    "sqrtl": lambda x: x.sqrt(),
    "powl": lambda x, y: (y * x.ln()).exp(),
    "atan2l": lambda y, x: atan2(y, x),
}


INSTRUCTIONS = ["f2xm1", "fsin", "fcos", "fptan", "fpatan", "fyl2x", "fyl2xp1"]


def error(result, truth):
    """In units of the last place of the true value."""
    magnitude = abs(truth)
    if magnitude == 0:
        return 0.0 if result == 0 else float("inf")
    exponent = (magnitude.ln() / LN2).to_integral_value(rounding="ROUND_FLOOR")
    if D(2) ** exponent > magnitude:
        exponent -= 1
    ulp = D(2) ** (max(exponent, D(-16382)) - 63)
    return float(abs(dec(result) - truth) / ulp)


def main():
    """Prints a table; fails when an instruction of ours is not correctly rounded, or when more than results differ."""
    rows, failures = {}, 0
    with open(sys.argv[1]) as ours, open(sys.argv[2]) as theirs:
        for our_line, their_line in zip(ours, theirs, strict=True):
            a, b = our_line.split(), their_line.split()
            if len(a) not in (3, 4) or len(a[-1]) != 20 or a[:-1] != b[:-1]:
                if a != b:
                    failures += 1
                    print("different:", our_line, their_line, sep="\n")
                continue
            row = rows.setdefault(a[0], {"results": 0, "differ": 0, "nearer": 0, "farther": 0, "ours": [], "theirs": []})
            row["results"] += 1
            row["differ"] += a[-1] != b[-1]
            arguments = [value(word) for word in a[1:-1]]
            results = [value(a[-1]), value(b[-1])]
            if a[0] not in TRUTH or None in arguments or None in results:
                continue
            truth = TRUTH[a[0]](*[dec(x) for x in arguments])
            our_error, their_error = (error(x, truth) for x in results)
            row["ours"].append(our_error)
            row["theirs"].append(their_error)
            row["nearer"] += our_error < their_error
            row["farther"] += our_error > their_error
    print("| function | results | differ | nearer: ours | the host's | largest error: ours | the host's | not correctly rounded: ours | the host's |")
    print("| --- " * 9 + "|")
    for name, row in rows.items():
        worst = [f"{max(row[k]):.3f}" if row[k] else "" for k in ("ours", "theirs")]
        wrong = [sum(e > 0.5 for e in row[k]) for k in ("ours", "theirs")]
        print("|", " | ".join(map(str, [name, row["results"], row["differ"], row["nearer"], row["farther"], *worst, *wrong])), "|")
        if name in INSTRUCTIONS:
            failures += wrong[0]
    sys.exit(1 if failures or not rows else 0)


main()
