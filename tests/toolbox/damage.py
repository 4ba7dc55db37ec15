"""Files with something wrong in them: bytes changed, left out, put in, or cut off."""

import struct

import numpy as np

#: Numbers that lengths and sizes are, where a file lies about them.
EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
WORDS = (b"nan", b"inf", b"-1", b"1e999", b"0", b"99999999999", b"(", b")", b"[", b"{", b"x", b"\0", b"\n", b" ", b"\xff")


def damaged(content, random):
    """A copy of some bytes with one to four changes."""
    content = bytearray(content)
    for _ in range(random.integers(1, 5)):
        if not content:
            break
        place, kind = int(random.integers(len(content))), random.integers(7)
        if random.random() < 0.5:  # headers are short and at the start
            place = min(place, int(random.integers(200)))
        if kind == 0:
            content[place] = random.integers(256)
        elif kind == 1:
            content[place] ^= 1 << random.integers(8)
        elif kind == 2:
            del content[place:]
        elif kind == 3:
            del content[place : place + random.integers(1, 40)]
        elif kind == 4:
            content[place:place] = content[(start := int(random.integers(len(content)))) : start + random.integers(1, 40)]
        elif kind == 5:
            packed = struct.pack(("<", ">")[random.integers(2)] + "Q", EXTREMES[random.integers(len(EXTREMES))])
            content[place : place + 4] = packed[:4] if random.random() < 0.5 else packed[-4:]
        else:
            content[place : place + random.integers(0, 4)] = WORDS[random.integers(len(WORDS))]
    return bytes(content)


def damaged_files(originals, folder, ending, count, seed=0):
    """Paths of ``count`` damaged files, each of which is there until the next one is."""
    random = np.random.default_rng(seed)
    path = folder / f"damaged{ending}"
    for _ in range(count):
        path.write_bytes(damaged(originals[random.integers(len(originals))], random))
        yield path
