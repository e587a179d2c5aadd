"""What python3 computes in the guest: calls, integers of any size, floating point, dictionaries, objects, text. Prints the same everywhere."""

import hashlib
import json
import re
import zlib


def queens(size, row=0, columns=0, left=0, right=0):
    if row == size:
        return 1
    count = 0
    free = ~(columns | left | right) & ((1 << size) - 1)
    while free:
        bit = free & -free
        free ^= bit
        count += queens(size, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return count


def digits_of_pi(count):
    """Gibbons's spigot: integers of hundreds of digits."""
    digits = []
    q, r, t, k, n, m = 1, 0, 1, 1, 3, 3
    while len(digits) < count:
        if 4 * q + r - t < n * t:
            digits.append(str(n))
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, m = q * k, (2 * q + r) * m, t * m, k + 1, (q * (7 * k + 2) + r * m) // (t * m), m + 2
    return "".join(digits)


def spectral_norm(size):
    """The largest singular value of the matrix 1 / ((i + j)(i + j + 1) / 2 + i + 1), by the power method."""

    def times(vector, transposed):
        result = []
        for i in range(size):
            total = 0.0
            for j in range(size):
                row, column = (j, i) if transposed else (i, j)
                total += vector[j] / ((row + column) * (row + column + 1) // 2 + row + 1)
            result.append(total)
        return result

    u = [1.0] * size
    for _ in range(4):
        v = times(times(u, False), True)
        u = times(times(v, False), True)
    return (sum(x * y for x, y in zip(u, v)) / sum(y * y for y in v)) ** 0.5


class Account:
    def __init__(self, number):
        self.number = number
        self.balance = 0
        self.entries = []

    def book(self, amount):
        self.balance += amount
        self.entries.append(amount)


def ledger(bookings):
    accounts = {number: Account(number) for number in range(97)}
    state = 12345
    for _ in range(bookings):
        state = (state * 1103515245 + 12345) % (1 << 31)
        accounts[state % 97].book(state >> 20)
        accounts[state % 89].book(-(state >> 20))
    ordered = sorted(accounts.values(), key=lambda account: (account.balance, account.number))
    return json.dumps([[account.number, account.balance, len(account.entries)] for account in ordered])


def text(words):
    made = " ".join(f"w{(number * 7919) % 1009:04d}" for number in range(words))
    counts = {}
    for word in re.findall(r"w(\d+)", made):
        counts[word] = counts.get(word, 0) + 1
    return hashlib.md5(zlib.compress(made.encode())).hexdigest(), len(counts)


print(queens(7), digits_of_pi(250)[-10:], f"{spectral_norm(40):.9f}")
print(hashlib.md5(ledger(12000).encode()).hexdigest(), *text(12000))
