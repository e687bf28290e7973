#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs command lines that are made at random, from a seed, on images of many
kinds, with the programs of this tree and with the installed peer's, each in a
folder of its own, and compares exit status, output, the content of the images,
what the peer's check says of them, and their size on the host.

Usage: generated-compare.py BUILD-FOLDER [PEER-FOLDER] [-v] [KINDS [SEED]]

KINDS images (default: 40), from that SEED (default: 1) on; each is the start of
some twelve lines.  What differs is told with its seed, and with all lines before
it, so that it can be typed.  Ends as tools-compare.py does.
"""
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import peercompare

KIB, MIB = 1024, 1024 * 1024
SIZES = (0, 512, 64 * KIB, 1 * MIB, 3 * MIB + 512, 5 * MIB + 1536, 8 * MIB,
         16 * MIB + 64 * KIB, 33 * MIB)
CLUSTERS = ('512', '4k', '16k', '64k', '64k', '64k', '1M', '2M')
WRITABLE = ('raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc')
# Made by the peer for both, and only read by ours.
OLD = ('qcow', 'qed', 'parallels')


class Kind:
    """An image: its format, size and name, and the lines that make it."""

    def __init__(self, rng, seed):
        self.rng, self.name = rng, 'a.img'
        self.fmt = rng.choice(('qcow2',) * 8 + WRITABLE + OLD)
        self.size = rng.choice(SIZES)
        self.backing = None
        self.lines = []
        getattr(self, 'make_' + self.fmt)()
        self.title = f'seed {seed}: {self.fmt}'
        if self.fmt not in OLD and self.size:
            self.fill()

    def create(self, *options, program='qemu-img'):
        more = ' '.join(f'-o {o}' for o in options)
        back = f'-b {self.backing[0]} -F {self.backing[1]} ' \
            if self.backing else ''
        self.lines.append(f'{program} create -f {self.fmt} {more} {back}'
                          f'{self.name} {self.size}')

    def chance(self, n):
        return self.rng.randrange(n) == 0

    def make_raw(self):
        self.create(*(['preallocation=' + self.rng.choice(
            ('off', 'falloc', 'full'))] if self.chance(3) else ()))

    def make_qcow2(self):
        rng = self.rng
        cluster = rng.choice(CLUSTERS)
        options = [f'cluster_size={cluster}']
        if self.chance(5):
            options.append('compat=0.10')
        else:
            if self.chance(4):
                options.append(f'refcount_bits={rng.choice((1, 2, 8, 32, 64))}')
            if self.chance(5):
                options.append('lazy_refcounts=on')
            if self.chance(4):
                options.append('compression_type=zstd')
            if self.chance(5):
                options.append('data_file=a.data')
                if self.chance(2):
                    options.append('data_file_raw=on')
        if self.chance(4) and 'data_file_raw=on' not in options:
            self.backing = ('b.img', rng.choice(('raw', 'qcow2')))
            self.lines += [
                f'qemu-img create -q -f {self.backing[1]} b.img '
                f'{rng.choice(SIZES[3:])}',
                f'qemu-io -f {self.backing[1]} -c "write -q -P 77 0 700k" '
                'b.img']
        elif self.chance(4):
            options.append('preallocation=' + rng.choice(
                ('metadata', 'falloc', 'full')))
        self.create(*options)

    def make_vmdk(self):
        self.create('subformat=' + self.rng.choice(
            ('monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse',
             'twoGbMaxExtentFlat', 'streamOptimized')))

    def make_vdi(self):
        self.create(*(('static=on',) if self.chance(3) else ()))

    def make_vhdx(self):
        self.size = max(self.size, MIB)
        self.create('subformat=' + self.rng.choice(('dynamic', 'fixed')))

    def make_vpc(self):
        self.size = max(self.size, MIB)
        self.create('subformat=' + self.rng.choice(('dynamic', 'fixed')),
                    *(('force_size=on',) if self.chance(2) else ()))

    def make_qcow(self):
        self._make_old()

    def make_qed(self):
        self._make_old()

    def make_parallels(self):
        self._make_old()

    def _make_old(self):
        self.size = max(self.size, MIB)
        self.create(program='/usr/bin/qemu-img')
        self.lines.append(f'/usr/bin/qemu-io -f {self.fmt} '
                          f'-c "write -q -P 9 64k 300k" {self.name}')

    # What is in it

    def extent(self, align=1):
        rng = self.rng
        offset = rng.randrange(max(self.size // align, 1)) * align
        if self.chance(2):
            offset -= offset % (64 * KIB)
        length = rng.choice((1, 512, 4096, 5000, 64 * KIB, 200 * KIB, MIB))
        return offset, max(min(length, self.size - offset), 0)

    def io_words(self):
        rng, words = self.rng, []
        for _ in range(rng.randrange(1, 6)):
            offset, length = self.extent()
            words.append(rng.choice((
                f'write -P {rng.randrange(256)} {offset} {length}',
                f'write -z {offset} {length}', f'write -zu {offset} {length}',
                f'discard {offset} {length}', f'read {offset} {length}',
                f'write -P 3 {offset} {length}', f'alloc {offset} {length}')))
        return ' '.join(f"-c '{w}'" for w in words)

    def fill(self):
        self.lines.append(f'qemu-io -f {self.fmt} {self.io_words()} '
                          f'{self.name}')

    # What is done with it

    def line(self):
        rng, fmt, a = self.rng, self.fmt, self.name
        at, length = self.extent(512)
        other = rng.choice(WRITABLE)
        lines = [
            f'qemu-img info {a}', f'qemu-img info --output=json {a}',
            f'qemu-img info --backing-chain {a}', f'qemu-img map {a}',
            f'qemu-img map --output=json {a}',
            f'qemu-img map --output=json -s {at} -l {length or 512} {a}',
            f'qemu-img check {a}', f'qemu-img check --output=json {a}',
            f'qemu-img measure -O {rng.choice(("raw", "qcow2"))} {a}',
            f'qemu-img measure --output=json -O qcow2 -o cluster_size='
            f'{rng.choice(CLUSTERS)} {a}',
            f'qemu-img convert -O {other} {a} c.img && qemu-img compare {a} '
            'c.img',
            f'qemu-img convert -O {other} {a} c.img && qemu-img info c.img',
            f'qemu-img convert -O {other} {a} c.img && qemu-img info '
            '--output=json c.img',
            f'qemu-img convert -f {fmt} -O qcow2 '
            f'{rng.choice(("-c", "-S 0", "-S 64k", "-W", "-n", "-C"))} '
            f'{a} c.qcow2 && qemu-img check c.qcow2',
            f'qemu-img dd -f {fmt} -O qcow2 bs={rng.choice((512, 4096))} '
            f'count={rng.randrange(1, 3000)} if={a} of=d.img',
        ]
        if fmt not in OLD and self.size:
            lines += 3 * [f'qemu-io -f {fmt} {self.io_words()} {a}']
            lines += [
                f'qemu-img resize -f {fmt} {rng.choice(("", "--shrink"))} {a} '
                f'{rng.choice(("+64k", "+1M", "-64k", "2M", "7M"))}']
        if fmt == 'qcow2':
            lines += [
                f'qemu-img snapshot -{rng.choice("cad")} s{rng.randrange(3)} '
                f'{a}', f'qemu-img snapshot -l {a}',
                f'qemu-img bitmap --{rng.choice(("add", "remove", "clear"))} '
                f'{a} b{rng.randrange(3)}',
                f'qemu-img bitmap --merge b0 {a} b1',
                f'qemu-img amend -o compat={rng.choice(("1.1", "0.10"))} {a}',
                f'qemu-img amend -o lazy_refcounts=on {a}',
                f'qemu-img create -q -f qcow2 -b {a} -F qcow2 top.img && '
                'qemu-io -c "write -q -P 6 0 64k" top.img && qemu-img commit '
                'top.img && qemu-img map --output=json top.img']
            if self.backing:
                lines += [f'qemu-img rebase -b "" {a}',
                          f'qemu-img rebase -u -b b.img -F '
                          f'{self.backing[1]} {a}', f'qemu-img commit {a}']
        return rng.choice(lines)


# --- comparing ---

FILTERS = [
    (r'; \d.* sec \(.*?/sec and .*? ops/sec\)', '; TIME'),
    (r'disk size: .*', 'disk size: SIZE'), (r'#block\d+', 'NODE'),
    (r'Image end offset: \d+', 'Image end offset: N'),
    (r'cid: \d+|"cid": \d+|parent cid: \d+', 'CID'),
    (r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE'),
    (r'(0x[0-9a-f]+|0) +(0x[0-9a-f]+) +(0x[0-9a-f]+|0) +', r'\1 \2 PLACE '),
]
HIDDEN = ('actual-size', 'offset', 'image-end-offset', 'cid', 'date-sec',
          'date-nsec', 'vm-clock-nsec')


def clean(value):
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items() if k not in HIDDEN}
    return [clean(v) for v in value] if isinstance(value, list) else value


def normal(text):
    """Lines in any order, as it says nothing in what order members of a format
    are told."""
    try:
        return clean(json.loads(text))
    except ValueError:
        return '\n'.join(sorted(
            peercompare.normal(text, FILTERS).split('\n')))


# --- what may differ ---

def entry_at(entries, offset):
    return next((e for e in entries if
                 e['start'] <= offset < e['start'] + e['length']), None)


def is_map(value):
    return isinstance(value, list) and all(
        isinstance(e, dict) and 'depth' in e for e in value)


def less_data(line, peer, ours):
    """Nowhere more data than the peer sees, and nowhere fewer zeroes."""
    if not (is_map(peer[1]) and is_map(ours[1])):
        return False
    starts = {e['start'] for side in (peer, ours) for e in side[1]}
    for start in starts:
        a, b = entry_at(peer[1], start), entry_at(ours[1], start)
        if not a or not b or a['present'] != b['present'] or \
                (b['data'] and not a['data']) or (a['zero'] and not b['zero']):
            return False
    return True


def smaller_measure(line, peer, ours):
    if ' measure ' not in line or peer[0] != ours[0]:
        return False
    sizes = [[int(n) for n in re.findall(r'required.*?(\d+)', str(side[1]))]
             for side in (peer, ours)]
    return bool(sizes[0] and sizes[1]) and sizes[1] < sizes[0]


def no_downgrade(line, peer, ours):
    return 'amend -o compat=0.10' in line and peer[0] == 0 and \
        'incompatible features' in ours[2]


def grown(line, peer, ours):
    return ' resize ' in line and ours[0] == 0 and \
        'Failed to zero out new clusters' in peer[2]


# As docs/interop/differences.rst says under these names.
KNOWN = ((less_data, 'holes-found'), (smaller_measure, 'holes-found'),
         (no_downgrade, 'amend-compression'), (grown, 'grown-v2'))


def known(line, peer, ours):
    return any(look(line, peer, ours) for look, name in KNOWN
               if name in peercompare.differences())


class Side:
    def __init__(self, folder, path):
        self.folder = folder
        self.env = dict(os.environ, LC_ALL='C', TZ='UTC',
                        PATH=path + ':' + os.environ['PATH'])
        os.mkdir(folder)

    def run(self, line):
        done = subprocess.run(['bash', '-c', line], cwd=self.folder,
                              env=self.env, timeout=120, check=False,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return (done.returncode, normal(done.stdout.decode(errors='replace')),
                normal(done.stderr.decode(errors='replace')))

    def content(self, name, fmt):
        """A digest of the disk and the status of a check, both as the peer sees
        them, and the size on the host."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return None
        raw = os.path.join(self.folder, 'content')
        status = subprocess.run(
            ['/usr/bin/qemu-img', 'convert', '-f', fmt, '-O', 'raw', name,
             'content'], cwd=self.folder, stderr=subprocess.DEVNULL,
            check=False).returncode
        digest = None
        if status == 0:
            with open(raw, 'rb') as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            os.unlink(raw)
        check = subprocess.run(['/usr/bin/qemu-img', 'check', '-q', '-f', fmt,
                                name], cwd=self.folder, check=False,
                               stderr=subprocess.DEVNULL).returncode
        return (digest, check), os.stat(path).st_blocks * 512


def compare_content(comparison, kind, sides, done):
    peer, ours = (side.content(kind.name, kind.fmt) for side in sides)
    title = f'{kind.title}: content, and the check, after\n  ' + \
        '\n  '.join(done)
    if not peer or not ours:
        if peer != ours:
            comparison.differs(title, str(peer), str(ours))
        return
    if peer[0] != ours[0]:
        comparison.differs(title, str(peer[0]), str(ours[0]))
    elif ours[1] > peer[1] + 256 * KIB:
        comparison.differs(title.replace('content, and the check', 'size'),
                           str(peer[1]), str(ours[1]))
    else:
        comparison.same(kind.title)


def compare_kind(comparison, seed, paths):
    rng = random.Random(seed)
    kind = Kind(rng, seed)
    lines = kind.lines + [kind.line() for _ in range(rng.randrange(8, 16))]
    with tempfile.TemporaryDirectory(prefix='generated-compare-') as top, \
            ThreadPoolExecutor(2) as pool:
        sides = [Side(os.path.join(top, name), path)
                 for name, path in zip(('peer', 'ours'), paths)]
        for number, line in enumerate(lines):
            peer, ours = pool.map(lambda side, li=line: side.run(li), sides)
            title = f'{kind.title}: {line}'
            if peer == ours or known(line, peer, ours):
                comparison.same(title)
                if peer[0] != ours[0]:
                    return
                continue
            before = '\n  '.join(lines[:number])
            comparison.differs(f'{title}\n  after\n  {before}',
                               *('\n'.join(str(r).rstrip() for r in side)
                                 for side in (peer, ours)))
            if peer[0] != ours[0]:
                return  # the images differ from here on
        compare_content(comparison, kind, sides, lines)


def main():
    ours, peer, words = peercompare.command_line(__doc__, 'qemu-img',
                                                 'qemu-io')
    if not all(re.fullmatch(r'\d+', w) for w in words) or len(words) > 2:
        sys.exit(__doc__)
    kinds, first = ([int(w) for w in words] + [40, 1][len(words):])[:2]
    comparison = peercompare.Comparison()
    for seed in range(first, first + kinds):
        compare_kind(comparison, seed, (peer, ours))
    comparison.end(f'command lines and images, {kinds} kinds')


if __name__ == '__main__':
    main()
