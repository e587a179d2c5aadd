"""Writes x87-accuracy.json: correctly rounded (to nearest) results of the transcendental instructions, computed with mpmath.

    python3 x87-accuracy.py > x87-accuracy.json

One entry: second byte of the instruction (after D9), then ST(0), ST(1) and the result as "exponent:significand" in hex.
Trigonometric arguments are reduced by the 66-bit pi of the SDM (volume 1, 8.3.8).
"""
import json
import random
from mpmath import mp, mpf, atan2, cos, floor, log, nint, sin

mp.prec = 400
PI66 = mpf(0xC90FDAA22168C234C) * mpf(2) ** -66
random.seed(1987)


def value(se, sig):
    return (-1 if se & 0x8000 else 1) * mpf(sig) * mpf(2) ** ((se & 0x7FFF) - 16383 - 63)


def encode(v):
    sign = 0x8000 if v < 0 else 0
    v = abs(v)
    exponent = int(floor(log(v, 2)))
    sig = int(nint(v * mpf(2) ** (63 - exponent)))
    if sig == 1 << 64:
        sig >>= 1
        exponent += 1
    return (sign | exponent + 16383, sig)


def text(x):
    return "%04x:%016x" % x


def operand(low, high, positive=False):
    sign = 0 if positive else random.choice([0, 0x8000])
    return (0x3FFF + random.randint(low, high) | sign, random.getrandbits(63) | 1 << 63)


out = []
for n in range(840):
    op = [0xF0, 0xF1, 0xF2, 0xF3, 0xF9, 0xFE, 0xFF][n % 7]
    y = operand(-10, 10)
    if op == 0xF0:
        x = operand(-60, -1)
    elif op == 0xF1:
        x = operand(-1, 0, True) if random.random() < 0.5 else operand(-3000, 3000, True)
    elif op == 0xF3:
        x = operand(-10, 10) if random.random() < 0.7 else operand(-60, 60)
    elif op == 0xF9:
        x = operand(-60, -3)
    else:
        x = operand(-4, 3) if random.random() < 0.5 else operand(-60, 62)
    a, b = value(*x), value(*y)
    if op == 0xF0:
        r = mpf(2) ** a - 1
    elif op == 0xF1:
        r = b * log(a, 2)
    elif op == 0xF3:
        r = atan2(b, a)
    elif op == 0xF9:
        r = b * log(1 + a, 2)
    else:
        q = nint(a / (PI66 / 2))
        t = a - q * (PI66 / 2)
        s, c = [(sin(t), cos(t)), (cos(t), -sin(t)), (-sin(t), -cos(t)), (-cos(t), sin(t))][int(q) % 4]
        r = {0xFE: s, 0xFF: c, 0xF2: s / c}[op]
    out.append([op, text(x), text(y), text(encode(r))])
print("[\n" + ",\n".join(json.dumps(e) for e in out) + "\n]")
