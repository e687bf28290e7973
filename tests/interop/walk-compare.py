#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Walks at random, from a seed: what people do with one disk, each step by the
programs of this tree or by the installed peer's, offline and live, on the same
files.  After each step the content is that of a model, for both, both find no
errors in any image of the chain, and snapshots and bitmaps are there.

Usage: walk-compare.py BUILD-FOLDER [PEER-FOLDER] [-v] [WALKS [SEED]]

WALKS walks (default: 20) of some twelve steps, from that SEED (default: 1) on.
What fails is told with all steps before it.  Ends as tools-compare.py does.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import peercompare
from livedaemon import Daemon, Failed

KIB, MIB = 1024, 1024 * 1024
PIECE = 64 * KIB    # sizes and clusters fit, so that disks end with a cluster


class Wrong(Exception):
    """Something is not as it must be."""


class Layer:
    """An image of the chain; @below: the content of what is under it."""

    def __init__(self, name, fmt):
        self.name, self.fmt = name, fmt
        self.snapshots, self.bitmaps = {}, set()


class Walk:
    """A chain of images, what its disk contains, and what was done."""

    def __init__(self, seed, folder, paths):
        self.rng = random.Random(seed)
        self.folder, self.paths = folder, paths
        self.done, self.count, self.made = [], 0, 0
        self.side = 0
        size = self.rng.randrange(1, 5 * MIB // PIECE) * PIECE
        self.layers, self.contents = [], []
        self.disk = bytearray(size)
        self.chain_up(self.new_layer(), size)

    # Running

    def run(self, *words, side=None, may_fail=False):
        """Runs a program; True: it ended with 0."""
        side = self.side if side is None else side
        self.done.append(('peer' if side == 0 else 'ours') + ': ' +
                         ' '.join(words))
        program = os.path.join(self.paths[side], words[0])
        done = subprocess.run([program, *words[1:]], cwd=self.folder,
                              stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, timeout=120)
        self.count += 1
        text = done.stdout.decode(errors='replace')
        if done.returncode < 0 or (done.returncode and not may_fail):
            raise Wrong(f'status {done.returncode}: {text}')
        return done.returncode == 0

    def ask(self, side, *words):
        """What a program prints."""
        program = os.path.join(self.paths[side], words[0])
        done = subprocess.run([program, *words[1:]], cwd=self.folder,
                              stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, timeout=120)
        if done.returncode:
            raise Wrong(f'{words} fails for {("peer", "ours")[side]}: '
                        f'{done.stdout.decode(errors="replace")}')
        return done.stdout

    # The chain

    def new_layer(self):
        self.made += 1
        return Layer(f'{self.made}.img', 'qcow2')

    def options(self):
        rng = self.rng
        options = [f'cluster_size={rng.choice(("512", "4k", "64k", "64k"))}']
        if rng.randrange(4) == 0:
            options.append(f'refcount_bits={rng.choice((8, 64))}')
        if rng.randrange(4) == 0:
            options.append('lazy_refcounts=on')
        if rng.randrange(4) == 0:
            options.append('compression_type=zstd')
        if rng.randrange(5) == 0 and '512' not in options[0] and \
                '4k' not in options[0]:
            options.append('extended_l2=on')
        return ','.join(options)

    def chain_up(self, layer, size=None):
        """Creates an image over the present ones."""
        words = ['qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                 self.options()]
        if self.layers:
            words += ['-b', self.top.name, '-F', self.top.fmt]
            self.contents.append(bytes(self.disk))
        self.run(*words, layer.name, *([str(size)] if size else []))
        self.layers.append(layer)

    @property
    def top(self):
        return self.layers[-1]

    def extent(self):
        rng = self.rng
        offset = rng.randrange(len(self.disk) // 512) * 512
        length = rng.choice((512, 4096, 5 * KIB, 64 * KIB, 300 * KIB))
        return offset, min(length, len(self.disk) - offset)

    def io_words(self):
        """Some writes, as words for qemu-io, which the model has, too."""
        words = []
        for _ in range(self.rng.randrange(1, 5)):
            offset, length = self.extent()
            byte = self.rng.randrange(256)
            verb = self.rng.choice((f'write -P {byte}',) * 3 +
                                   ('write -z', 'write -zu', 'discard'))
            words += ['-c', f'{verb} {offset} {length}']
            if verb == 'discard':       # has no content until it gets one
                words += ['-c', f'write -z {offset} {length}']
            self.disk[offset:offset + length] = \
                bytes([byte if '-P' in verb else 0]) * length
        return words

    # Steps

    def step_write(self):
        self.run('qemu-io', '-f', 'qcow2', *self.io_words(), self.top.name)

    def step_snapshot(self):
        name = f's{self.rng.randrange(4)}'
        there = self.top.snapshots
        if name not in there:
            self.run('qemu-img', 'snapshot', '-c', name, self.top.name)
            there[name] = bytes(self.disk)
        elif self.rng.randrange(2):
            self.run('qemu-img', 'snapshot', '-d', name, self.top.name)
            del there[name]
        elif there[name] is not None and self.run(
                'qemu-img', 'snapshot', '-a', name, self.top.name,
                may_fail=True):
            self.disk = bytearray(there[name])

    def step_overlay(self):
        if len(self.layers) < 4:
            self.chain_up(self.new_layer())

    def forget_snapshots(self):
        """What they had from the old backing file they do not have now."""
        self.top.snapshots = dict.fromkeys(self.top.snapshots)

    def step_rebase(self):
        """To the one below the one below, or to none."""
        if len(self.layers) < 2:
            return
        self.forget_snapshots()
        if len(self.layers) > 2 and self.rng.randrange(2):
            below = self.layers[-3]
            self.run('qemu-img', 'rebase', '-b', below.name, '-F', below.fmt,
                     self.top.name)
            del self.layers[-2], self.contents[-1]
        else:
            self.run('qemu-img', 'rebase', '-b', '', self.top.name)
            self.layers, self.contents = [self.top], []

    def step_commit(self):
        if len(self.layers) < 2 or not self.run(
                'qemu-img', 'commit', '-d', self.top.name, may_fail=True):
            return
        self.layers.pop()
        self.committed_to(self.contents.pop())

    def committed_to(self, base):
        """The disk is that image now; if it was longer it keeps its end."""
        self.disk += base[len(self.disk):]

    def step_convert(self):
        layer = self.new_layer()
        flags = self.rng.choice(([], ['-c'], ['-W'], ['-S', '0'],
                                 ['-t', 'none', '-T', 'none']))
        self.run('qemu-img', 'convert', *flags, '-O', 'qcow2', '-o',
                 self.options(), self.top.name, layer.name)
        self.layers, self.contents = [layer], []

    def step_resize(self):
        bitmaps = self.top.bitmaps
        if self.rng.randrange(3):
            more = self.rng.randrange(1, 20) * PIECE
            if self.run('qemu-img', 'resize', '-q', self.top.name,
                        str(len(self.disk) + more), may_fail=bool(bitmaps)):
                self.disk += bytes(more)
        elif len(self.disk) > 8 * PIECE and not self.top.snapshots:
            size = len(self.disk) - self.rng.randrange(1, 6) * PIECE
            if self.run('qemu-img', 'resize', '-q', '--shrink', self.top.name,
                        str(size), may_fail=bool(bitmaps)):
                del self.disk[size:]

    def step_bitmap(self):
        name, there = f'b{self.rng.randrange(3)}', self.top.bitmaps
        if name not in there:
            self.run('qemu-img', 'bitmap', '--add', self.top.name, name)
            there.add(name)
        elif self.rng.randrange(3) == 0:
            self.run('qemu-img', 'bitmap', '--remove', self.top.name, name)
            there.remove(name)
        else:
            verb = self.rng.choice(('--clear', '--disable', '--enable'))
            self.run('qemu-img', 'bitmap', verb, self.top.name, name)

    def step_amend(self):
        self.run('qemu-img', 'amend', '-o', self.rng.choice(
            ('lazy_refcounts=on', 'lazy_refcounts=off', 'compat=1.1',
             'refcount_bits=8', 'refcount_bits=64')), self.top.name)

    def step_repair(self):
        if self.top.snapshots and self.top.bitmaps:
            self.side = 1       # the peer would remove the snapshots
        self.run('qemu-img', 'check', '-q', '-r', 'all', self.top.name)

    def step_live(self):
        self.done.append(('peer', 'ours')[self.side] +
                         ': qemu-storage-daemon of ' + self.top.name)
        with Daemon(self.paths[self.side], self.folder, self.done) as daemon:
            daemon.open_disk(self.top.name)
            for _ in range(self.rng.randrange(2, 6)):
                getattr(self, 'live_' + self.rng.choice(LIVE))(daemon)
                self.count += 1

    # Live steps

    def live_write(self, daemon):
        """By a client that may be the other one's."""
        self.run('qemu-io', '-f', 'raw', *self.io_words(), daemon.uri,
                 side=self.rng.randrange(2))

    def live_snapshot(self, daemon):
        if len(self.layers) >= 4:
            return
        layer = self.new_layer()
        self.run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                 self.options(), '-b', self.top.name, '-F', self.top.fmt, '-u',
                 layer.name, str(len(self.disk)))
        self.contents.append(bytes(self.disk))
        daemon.add_overlay(layer.name, daemon.top)
        self.layers.append(layer)

    def live_stream(self, daemon):
        if len(self.layers) > 1:
            daemon.job('block-stream', 'job-id', device=daemon.top)
            self.forget_snapshots()
            self.layers, self.contents = [self.top], []

    def live_commit(self, daemon):
        """All of the chain into its lowest image."""
        if len(self.layers) > 1:
            base = self.layers[0]
            daemon.commit()
            self.committed_to(self.contents[0])
            self.layers, self.contents = [base], []

    def live_backup(self, daemon):
        name = f'backup-{self.made}.img'
        self.made += 1
        self.run('qemu-img', 'create', '-q', '-f', 'qcow2', name,
                 str(len(self.disk)))
        daemon.backup(name)
        self.compare(name, self.disk, 'the backup')

    def live_internal(self, daemon):
        name = f's{self.rng.randrange(4)}'
        if name in self.top.snapshots:
            daemon.cmd('blockdev-snapshot-delete-internal-sync',
                       device=daemon.top, name=name)
            del self.top.snapshots[name]
        else:
            daemon.cmd('blockdev-snapshot-internal-sync', device=daemon.top,
                       name=name)
            self.top.snapshots[name] = bytes(self.disk)

    def live_bitmap(self, daemon):
        name = f'b{self.rng.randrange(3)}'
        if name in self.top.bitmaps:
            daemon.cmd('block-dirty-bitmap-remove', node=daemon.top, name=name)
            self.top.bitmaps.remove(name)
        else:
            daemon.cmd('block-dirty-bitmap-add', node=daemon.top, name=name,
                       persistent=True)
            self.top.bitmaps.add(name)

    def live_resize(self, daemon):
        if self.top.bitmaps or not daemon.keeps_top():
            return
        more = self.rng.randrange(1, 20) * PIECE
        daemon.resize(len(self.disk) + more)
        self.disk += bytes(more)

    # Looking

    def compare(self, name, content, what, *options, sides=(0, 1)):
        for side in sides:
            path = os.path.join(self.folder, 'raw')
            self.ask(side, 'qemu-img', 'convert', '-U', *options, '-O', 'raw',
                     name, 'raw')
            with open(path, 'rb') as file:
                found = file.read()
            os.unlink(path)
            if found == content:
                continue
            at = next((i for i, (a, b) in enumerate(zip(found, content))
                       if a != b), min(len(found), len(content)))
            raise Wrong(f'{what}: not the content of the model at {at:#x}, as '
                        f'{("peer", "ours")[side]} reads it (of {len(found)} '
                        f'and {len(content)} bytes)')

    def look(self):
        self.compare(self.top.name, self.disk, 'the disk')
        for layer, content in zip(self.layers, self.contents):
            self.compare(layer.name, content, f'{layer.name}, a base',
                         sides=(1 - self.side,))
        for name, content in self.top.snapshots.items():
            if content is None:
                continue
            if len(content) != len(self.disk):
                self.side = 0   # the peer gives it the present size
            self.compare(self.top.name, content, f'snapshot {name}', '-l',
                         f'snapshot.name={name}', sides=(1 - self.side,))
        for layer in self.layers:
            for side in (0, 1):
                self.ask(side, 'qemu-img', 'check', '-q', layer.name)
                self.look_at_bitmaps(side, layer)

    def look_at_bitmaps(self, side, layer):
        info = json.loads(self.ask(side, 'qemu-img', 'info', '--output=json',
                                   layer.name))
        bitmaps = info['format-specific']['data'].get('bitmaps', ())
        if {b['name'] for b in bitmaps} != layer.bitmaps:
            raise Wrong(f'bitmaps {bitmaps} instead of {layer.bitmaps}')
        broken = [b['name'] for b in bitmaps if 'in-use' in b['flags']]
        if broken:
            raise Wrong(f'bitmaps are inconsistent: {broken}')

    def step(self):
        self.side = self.rng.randrange(2)
        getattr(self, 'step_' + self.rng.choice(STEPS))()
        self.look()


STEPS = ('write', 'write', 'write', 'snapshot', 'snapshot', 'overlay', 'rebase',
         'commit', 'convert', 'resize', 'bitmap', 'bitmap', 'amend', 'repair',
         'live', 'live', 'live')
LIVE = ('write', 'write', 'snapshot', 'stream', 'commit', 'backup', 'internal',
        'bitmap', 'resize')


def one_walk(comparison, seed, paths):
    """The number of commands."""
    with tempfile.TemporaryDirectory(prefix='walk-compare-') as folder:
        walk = Walk(seed, folder, paths)
        try:
            for _ in range(walk.rng.randrange(8, 16)):
                walk.step()
        except (Wrong, Failed, subprocess.TimeoutExpired) as why:
            comparison.differs(f'seed {seed}: after\n  ' +
                               '\n  '.join(walk.done), 'is right', str(why))
        else:
            comparison.same(f'seed {seed}')
        return walk.count


def main():
    ours, peer, words = peercompare.command_line(
        __doc__, 'qemu-img', 'qemu-io', 'qemu-storage-daemon')
    if not all(re.fullmatch(r'\d+', w) for w in words) or len(words) > 2:
        sys.exit(__doc__)
    walks, first = ([int(w) for w in words] + [20, 1][len(words):])[:2]
    comparison = peercompare.Comparison()
    count = sum(one_walk(comparison, seed, (peer, ours))
                for seed in range(first, first + walks))
    comparison.end(f'walks of {count} commands')


if __name__ == '__main__':
    main()
