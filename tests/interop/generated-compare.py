#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs command lines that are made at random, from a seed, on images of many
kinds, with the programs of this tree and with the installed peer's, each in a
folder of its own, and compares exit status, output, the content of the images,
what the peer's check says of them, and their size on the host.

Usage: generated-compare.py BUILD-FOLDER [PEER-FOLDER] [-v] [KINDS [SEED]]

KINDS images (default: 650), from that SEED (default: 1) on; each is the start of
some twelve lines.  What differs is told with its seed, and with all lines before
it, so that it can be typed.  Ends as tools-compare.py does.
"""
import contextlib
import functools
import hashlib
import io
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import hostextents
import imagekinds
import peercompare
from imagekinds import KIB, MIB

# --- comparing ---

FILTERS = [
    (r'; [\d:.]+( sec)? \(.*?/sec and .*? ops/sec\)', '; TIME'),
    (r'disk size: .*', 'disk size: SIZE'), (r'#block\d+', 'NODE'),
    (r'Image end offset: \d+', 'Image end offset: N'),
    (r'cid: \d+|"cid": \d+|parent cid: \d+', 'CID'),
    (r'(?i)uuid: [-0-9a-f]+', 'UUID'), (r'(?i)key material offset: \d+', 'PLACE'),
    (r'(?i)(payload offset|master key iters|iters|stripes): \d+', r'\1: N'),
    (r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE'),
    (r'(0x[0-9a-f]+|0) +(0x[0-9a-f]+) +(0x[0-9a-f]+|0) +', r'\1 \2 PLACE '),
    (r'Cluster at offset 0x[0-9a-f]+', 'Cluster at PLACE'),
    (r'bash: line 1: +\d+ ', 'bash: '), (r' +safety: \w+\n', ''),
]
HIDDEN = ('actual-size', 'offset', 'image-end-offset', 'cid', 'date-sec',
          'date-nsec', 'vm-clock-nsec', 'uuid', 'iters', 'key-offset', 'safety',
          'master-key-iters', 'payload-offset')


def clean(value):
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items() if k not in HIDDEN}
    if isinstance(value, list):
        value = [clean(v) for v in value]
        return merged(value) if is_map(value) else value
    return value


def is_map(value):
    return isinstance(value, list) and bool(value) and all(
        isinstance(e, dict) and 'depth' in e for e in value)


def merged(entries):
    """Where one entry ends and the next one begins with the same says only in
    which pieces the program looked."""
    out = []
    for e in entries:
        last = out[-1] if out else None
        same = last and all(last[k] == e[k] for k in e
                            if k not in ('start', 'length'))
        if same and last['start'] + last['length'] == e['start']:
            last['length'] += e['length']
        else:
            out.append(dict(e))
    return out


def normal(text):
    """Words, and what follows them as JSON (None: nothing).  Lines in any order,
    as it says nothing in what order members of a format are told."""
    start = re.search(r'^[\[{]', text, re.M)
    value = None
    if start:
        try:
            value = clean(json.loads(text[start.start():]))
            text = text[:start.start()]
        except ValueError:
            pass
    return '\n'.join(sorted(
        peercompare.normal(text, FILTERS).split('\n'))), value


# --- what may differ ---

def entry_at(entries, offset):
    return next((e for e in entries if
                 e['start'] <= offset < e['start'] + e['length']), None)


def no_more(a, b, depths):
    """Is @b, an entry of a map, no more data and no fewer zeroes than @a?"""
    if (b['data'] and not a['data']) or (a['zero'] and not b['zero']):
        return False
    return not depths or a['present'] == b['present']


def both_map(peer, ours):
    """Are both a map as JSON, and does only that differ?"""
    return is_map(peer.value) and is_map(ours.value) and \
        same_span((peer.value, ours.value)) and \
        (peer.status, peer.out, peer.err) == (ours.status, ours.out, ours.err)


def written(content):
    """The ranges of @content that are not zero, but for zeroes within sectors."""
    found = []
    for at in range(0, len(content), 512):
        data = content[at:at + 512].rstrip(b'\0')
        start = at + len(data) - len(data.lstrip(b'\0'))
        if data and found and found[-1][1] == start:
            found[-1][1] = at + len(data)
        elif data:
            found.append([start, at + len(data)])
    return found


def covers_data(line, shown, start=0, end=None):
    """Are all bytes between @start and @end that are not zero in the image that
    @line is about in the ranges @shown?"""
    content = line.disk()
    if content is None:
        return False
    end = len(content) if end is None else end
    return within([(max(s, start), min(e, end, len(content)))
                   for s, e in written(content) if e > start and s < end],
                  shown)


def shows_data(line, side):
    """Has the map of @side all that the image has?"""
    entries = side.value
    if not is_map(entries):
        return covers_data(line, ranges(side.out))
    return covers_data(line, [(e['start'], e['start'] + e['length'])
                              for e in entries if not e['zero']],
                       entries[0]['start'],
                       entries[-1]['start'] + entries[-1]['length'])


def same_span(maps):
    """Do both maps tell of the same part of the disk, without gaps?"""
    ends = [[(e['start'], e['start'] + e['length']) for e in side]
            for side in maps]
    return ends[0][0][0] == ends[1][0][0] and \
        ends[0][-1][1] == ends[1][-1][1] and all(
            a[1] == b[0] for side in ends for a, b in zip(side, side[1:]))


def less_data(line, peer, ours):
    """Nowhere more data than the peer sees, and nowhere fewer zeroes."""
    maps = peer.value, ours.value
    if not both_map(peer, ours):
        return False
    # Zeroes that are committed take no space in ours.
    depths = line.fmt == 'qcow2' and not re.search(
        '-img (commit|rebase) ', line.before + line.text)
    for start in {e['start'] for side in maps for e in side}:
        a, b = (entry_at(side, start) for side in maps)
        if not a or not b or not no_more(a, b, depths):
            return False
    return shows_data(line, ours)


def without_zero(side):
    """The map without what says where data reads as zeroes."""
    return merged([{k: v for k, v in e.items() if k != 'zero'}
                   for e in side.value])


def ranges(text):
    """The bytes that `map` for people tells."""
    return [(int(start, 0), int(start, 0) + int(length, 0)) for start, length in
            re.findall(r'^(0x[0-9a-f]+|0) (0x[0-9a-f]+) ', text, re.M)]


def within(inner, outer):
    outer, joined = sorted(outer), []
    for start, end in outer:
        if joined and joined[-1][1] >= start:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return all(any(a <= start and end <= b for a, b in joined)
               for start, end in inner)


def for_people(line, peer, ours):
    """Are both answers those of `map` for people, of the same image?"""
    return ' map' in line.text and peer.status == ours.status and \
        peer.err == ours.err and all(
            re.search('^Offset +Length +Mapped to +File$', side.out, re.M) and
            side.value is None for side in (peer, ours)) and \
        without_ranges(peer.out) == without_ranges(ours.out)


def without_ranges(out):
    return re.sub(r'^(0x[0-9a-f]+|0) (0x[0-9a-f]+) .*\n?', '', out,
                  flags=re.M).strip()


def fewer_ranges(line, peer, ours):
    """The same for people."""
    return for_people(line, peer, ours) and \
        within(ranges(ours.out), ranges(peer.out)) and \
        shows_data(line, ours)


def pieces(out):
    """What the map of qemu-io says: (start, end, is it allocated?)"""
    return sorted((int(at, 0), int(at, 0) + int(length, 0), not un)
                  for length, un, at in re.findall(
                      r'\((0x[0-9a-f]+)\) bytes +(not )?allocated.*'
                      r'\((0x\w+)\)', out))


def in_one_piece(found):
    """Do they follow one another from the start of the disk?"""
    return bool(found) and [0] + [e for _, e, _ in found[:-1]] == \
        [s for s, _, _ in found]


def fewer_allocated(line, peer, ours):
    """The same for what qemu-io maps."""
    found = [pieces(side.out) for side in (peer, ours)]
    rest = [re.sub(r'.* bytes +(not )?allocated .*\n?', '', side.out).strip()
            for side in (peer, ours)]
    if "-c 'map'" not in line.text or peer.status != ours.status or \
            peer.err != ours.err or rest[0] != rest[1] or \
            not all(map(in_one_piece, found)) or \
            found[0][-1][1] != found[1][-1][1]:
        return False
    used = [[(s, e) for s, e, is_used in side if is_used] for side in found]
    return within(used[1], used[0]) and (
        ' -b ' in line.kind + line.before or covers_data(line, used[1]))


STRICT = (r'(Images are identical)\.|(Strict mode): Offset (\d+) block status '
          r'mismatch!|(Content mismatch) at offset (\d+)!')


def strict_compare(line, peer, ours):
    """What is allocated, but not what the content is."""
    if ' compare -s' not in line.text or peer.err != ours.err:
        return False
    found = [re.findall(STRICT, side.out) for side in (peer, ours)]
    rest = [re.sub(STRICT, '', side.out).strip() for side in (peer, ours)]
    if rest[0] != rest[1] or [len(f) for f in found] != [1, 1] or any(
            side.status != (0 if f[0][0] else 1)
            for side, f in zip((peer, ours), found)):
        return False
    strict = [int(f[0][2]) for f in found if f[0][1]]
    other = [int(f[0][4]) for f in found if f[0][3]]
    # What is not allocated alike ends it before the content that differs.
    return bool(strict) and (not other or strict[0] <= other[0])


def sizes_of(side):
    """What `measure` says: {name: bytes}."""
    if isinstance(side.value, dict):
        return side.value
    return {name: int(n) for name, n in
            re.findall(r'^(.+): (\d+)$', side.out, re.M)}


def required(line, peer, ours):
    """The sizes that both measure, or None where something else differs."""
    if ' measure ' not in line.text or peer.status != ours.status or \
            peer.err != ours.err:
        return None
    sizes = [dict(sizes_of(side)) for side in (peer, ours)]
    found = [s.pop('required', s.pop('required size', None)) for s in sizes]
    if None in found or sizes[0] != sizes[1]:
        return None
    return found


def holds_data(line, size):
    """Is @size, as measured, enough for what the image has?"""
    content = line.disk()
    return content is not None and size >= sum(
        end - start for start, end in written(content))


def smaller_measure(line, peer, ours):
    sizes = required(line, peer, ours)
    return bool(sizes) and sizes[1] < sizes[0] and holds_data(line, sizes[1])


def data_of_both(line, peer, ours):
    """The ranges with data that both maps show, the peer's first; None if they
    are no maps, or differ in something else."""
    if both_map(peer, ours):
        if without_zero(peer) != without_zero(ours):
            return None
        return [[(e['start'], e['start'] + e['length']) for e in side.value
                 if e['data'] and not e['zero']] for side in (peer, ours)]
    if for_people(line, peer, ours):
        return [ranges(side.out) for side in (peer, ours)]
    return None


def page_parts(line, peer, ours):
    """Clusters are smaller than the pages that the host's file has or lacks, so
    that it depends on their place in the file what is data beside data."""
    data = data_of_both(line, peer, ours)
    if 'cluster_size=512' not in line.kind or ' map ' not in line.text or \
            not shows_data(line, ours) or not data:
        return False
    whole = [(start, end) for start, end in data[1] if end - start >= 4096]
    return within(whole, [(start - 4095, end + 4095)
                          for start, end in data[0]])


PART = 32 * KIB             # zeroes that ours writes beside data, at most


def zero_parts(line, peer, ours):
    """More data than the peer sees, but only beside data, and below PART."""
    maps = peer.value, ours.value
    if not both_map(peer, ours) or not shows_data(line, ours):
        return False
    more = []
    starts = sorted({e['start'] for side in maps for e in side})
    for start, end in zip(starts, starts[1:] + [None]):
        a, b = (entry_at(side, start) for side in maps)
        if not a or not b:
            return False
        if no_more(a, b, line.fmt == 'qcow2'):
            continue
        if end is None or not a['present'] or not b['data'] or b['zero']:
            return False
        more.append((start, end))
    data = [(e['start'], e['start'] + e['length']) for e in peer.value
            if e['data'] and not e['zero']]
    return all(end - start < PART and any(start in d or end in d for d in data)
               for start, end in more)


def zero_parts_told(line, peer, ours):
    """The same for people."""
    return for_people(line, peer, ours) and line.fmt == 'qcow2' and \
        "'write " in line.before and shows_data(line, ours) and within(
            ranges(ours.out), [(start - PART + 1, end + PART - 1)
                               for start, end in ranges(peer.out)])


def zero_parts_measured(line, peer, ours):
    sizes = required(line, peer, ours)
    writes = line.before.count("'write ")
    return bool(sizes) and 0 < sizes[1] - sizes[0] < writes * PART


def full_data_file(line, peer, ours):
    """The peer's has holes where ours has been filled."""
    if not re.search('data_file=.*preallocation=full', line.kind):
        return False
    data = data_of_both(line, peer, ours)
    return within(*data) and shows_data(line, ours) if data else \
        fills(line, peer, ours)


def fills(line, peer, ours):
    """Is more measured, but not more than what all of the disk takes?"""
    sizes, told = required(line, peer, ours), sizes_of(ours)
    return bool(sizes) and sizes[0] < sizes[1] <= told.get(
        'fully allocated size', told.get('fully-allocated', 0))


def narrow_refcounts(line, peer, ours):
    """A snapshot is applied, which is seen after that in what the disk has."""
    return re.search('refcount_bits=[12] ', line.kind) and \
        ' snapshot -a' in line.text and \
        (ours.status, ours.out, ours.err) == (0, '', '') and \
        'Failed to load snapshot: Invalid argument' in peer.err


def empty_disk(line, peer, ours):
    """There is nothing to convert."""
    return 'amend -o compat=0.10' in line.text and \
        (ours.status, ours.out, ours.err) == (0, '', '') and \
        line.kind.endswith(' 0') and \
        'Failed to turn zero into data clusters: Cannot allocate' in peer.err


def more_data(line, peer, ours):
    """The ranges where ours has more data, or fewer zeroes, and that alone; None
    if these are no maps."""
    if for_people(line, peer, ours):
        maps = ranges(peer.out), ranges(ours.out)
        edges = sorted({edge for side in maps for r in side for edge in r})
        return [r for r in zip(edges, edges[1:])
                if within([r], maps[1]) and not within([r], maps[0])]
    if not both_map(peer, ours):
        return None
    maps = peer.value, ours.value
    edges = sorted({e['start'] for side in maps for e in side} |
                   {maps[0][-1]['start'] + maps[0][-1]['length']})
    found = [(r, *(entry_at(side, r[0]) for side in maps))
             for r in zip(edges, edges[1:])]
    if any(a['present'] != b['present'] for _, a, b in found):
        return None
    return [r for r, a, b in found if not no_more(a, b, False)]


def reserved(line, peer, ours):
    """Data where space of the host was reserved, and never written: it was read,
    which the host shows as data."""
    more = more_data(line, peer, ours)
    if more:
        # Of a page, a part may be data.
        page = 4095 if 'cluster_size=512' in line.kind else 0
        return shows_data(line, ours) and within(
            more, [(start - page, end + page)
                   for start, end in line.unwritten()])
    sizes = required(line, peer, ours)
    if not sizes or sizes[1] <= sizes[0]:
        return False
    cluster = bytes_of(*re.findall(r'cluster_size=(\w+)', line.text)[:1] or
                       ['64k'])
    return sizes[1] - sizes[0] <= sum(
        -(-end // cluster) * cluster - start // cluster * cluster
        for start, end in line.unwritten())


def bytes_of(text):
    """Of a size as in options."""
    return int(text.rstrip('kM')) * {'k': KIB, 'M': MIB}.get(text[-1], 1)


def snapshot_size(line, peer, ours):
    """Of a snapshot of another size than the disk: what a disk of its size
    takes at most, and not less than its data."""
    words = re.search(r'qemu-img measure -l (\S+) -O qcow2 (\S+)$', line.text)
    size, content = words and line.held(words[1]), line.disk()
    if not size or content is None or size[0] == len(content) or \
            (peer.status, peer.err) != (ours.status, ours.err):
        return False
    sizes = sizes_of(ours)
    least = sizes.get('required size', 0)
    return sizes == sizes_of(peer) | {
        'fully allocated size': size[1], 'required size': least} and \
        size[1] >= least >= sum(end - start for start, end in
                                written(content[:size[0]]))


def without_statistics(out):
    return re.sub(r'^(\d+)/(\d+) = .*\n?', '', out, flags=re.M)


def statistics(side):
    """(allocated, fragmented) clusters of the output of check, or None."""
    if isinstance(side.value, dict) and 'check-errors' in side.value:
        return (side.value.get('allocated-clusters', 0),
                side.value.get('fragmented-clusters', 0))
    found = re.search(r'^(\d+)/\d+ = .*allocated, ([\d.]+)% fragm', side.out,
                      re.M)
    if not found:               # there are none
        return (0, 0) if 'No errors were found' in side.out else None
    return int(found[1]), round(int(found[1]) * float(found[2]) / 100)


def fewer_clusters(line, peer, ours, odds=10):
    """Not more clusters, and not many more pieces."""
    a, b = statistics(peer), statistics(ours)
    if not a or not b or peer.status != ours.status or \
            without_statistics(peer.out) != without_statistics(ours.out):
        return False
    return b[0] <= a[0] and b[1] <= a[1] + 2 + a[0] // odds


def mixed_pieces(line, peer, ours):
    return ' convert ' in line.text and fewer_clusters(line, peer, ours, 4)


def no_place(line, peer, ours):
    return line.fmt == 'vhdx' and ' map ' in line.text and \
        (ours.status, ours.err) == (0, '') and shows_data(line, ours) and \
        'external, encrypted or compressed clusters' in peer.err


def no_downgrade(line, peer, ours):
    return 'amend -o compat=0.10' in line.text and \
        'incompatible features' in ours.err and \
        (peer.status == 0 or 'incompatible features' in peer.err)


def grown(line, peer, ours):
    return re.search(' resize | amend -o size', line.text) and \
        ours.status == 0 and 'Failed to zero out new clusters' in peer.err


def grown_over(line, peer, ours):
    """Past the end of the backing file, ours has no zero clusters in an image
    that has grown beyond it."""
    size = re.search(r' b\.img (\d+) &&', line.kind)
    if not size or not both_map(peer, ours) or \
            not re.search(' resize | amend -o size', line.before):
        return False
    maps = peer.value, ours.value
    for start in {e['start'] for side in maps for e in side}:
        a, b = (entry_at(side, start) for side in maps)
        kinds = [{k: e[k] for k in ('present', 'zero', 'data')} for e in (a, b)]
        if kinds[0] != kinds[1] and (
                start < int(size[1]) or kinds[0] != dict(ZERO, present=True) or
                kinds[1] != dict(ZERO, present=False)):
            return False
    return True


ZERO = {'zero': True, 'data': False}


def shared_table(line, peer, ours):
    """Zeroes over zeroes, which changed nothing."""
    return 'amend -o refcount_bits=1 ' in line.text and peer.status == 0 and \
        'snapshot -c' in line.before and \
        re.search("'(write -zu?|discard) ", line.before) and re.fullmatch(
            'qemu-img: Cannot decrease refcount entry width to 1 bits: '
            'Cluster at PLACE has a refcount of 2', ours.err.strip())


def empty_vmdk(line, peer, ours):
    return "Unsupported image type 'monolithicSparse'" in peer.err and \
        ours.status == 0


def empty_bitmap(line, peer, ours):
    return ' bitmap --add' in line.text and 'size of 0' in ours.err


def allocated(out):
    """What `alloc` counts of each range, and everything else that was said."""
    pattern = r'^(\d+)(/\d+ bytes alloc.*)$'
    return sorted((rest, int(n)) for n, rest in re.findall(pattern, out, re.M)
                  ), sorted(re.sub(pattern, '', out, flags=re.M).split())


def only_counts(line, peer, ours):
    """The counts of the peer and of ours, if only these differ."""
    (a, rest), (b, other) = allocated(peer.out), allocated(ours.out)
    if "'alloc " not in line.text or rest != other or not a or \
            [r for r, _ in a] != [r for r, _ in b] or \
            (peer.status, peer.err) != (ours.status, ours.err):
        return None
    return [[n for _, n in side] for side in (a, b)]


def zeroes_have_no_place(line, peer, ours):
    none = line.fmt != 'qcow2' or re.search(
        'amend -o compat=0.10|-img (commit|rebase) ', line.before)
    counts = none and only_counts(line, peer, ours)
    return bool(counts) and all(n <= m for m, n in zip(*counts))


REFUSED = 'qemu-io: Could not write to allocated cluster for streamOptimized'


def stream_written(line, peer, ours):
    """Writes that the peer refuses, and they alone; compare_written() looks at
    what they did."""
    if not (line.fmt == 'vmdk' and 'streamOptimized' in line.kind and
            line.text.startswith('qemu-io ') and not ours.err and
            set(peer.err.split('\n')) <= {'', REFUSED} and
            (peer.status, ours.status) == (1, 0)):
        return False
    found, rest = [], []
    for side in (peer, ours):
        words = side.out.split('\n')
        found.append([w for w in words if w.startswith('wrote ')])
        rest.append([w for w in words if not re.match(
            r'wrote |write failed: (Input/output error|Invalid argument)$|'
            r'.* 1 ops; TIME$|\d+/\d+ bytes allocated at ', w)])
    wanted = [f'wrote {n}/{n} bytes at offset {at}' for at, n in
              writes(line.text)]
    return rest[0] == rest[1] and sorted(wanted) == found[1] and \
        set(found[0]) < set(found[1])


def writes(text):
    """(offset, length) of the writes of a line of qemu-io."""
    return re.findall(r"'write (?:-P \d+|-z|-zu) (\d+) (\d+)'", text)


def only_read(line, peer, ours):
    return ' check -r' in line.text and 'can only be read' in ours.err


def no_bitmaps(line, peer, ours):
    return ' --bitmaps' in line.text and ours.status == 0 and \
        'Source lacks bitmap support' in peer.err


def raw_data(line, peer, ours):
    """What is allocated, and what is zero, in raw data files."""
    if 'data_file_raw' not in line.kind or peer.status != ours.status or \
            peer.err != ours.err:
        return False
    a, b = statistics(peer), statistics(ours)
    return other_places(line, peer, ours) or bool(
        a and b and ' check ' in line.text and
        without_statistics(peer.out) == without_statistics(ours.out)) or \
        measured_truly(line, peer, ours)


def measured_truly(line, peer, ours):
    sizes = required(line, peer, ours)
    return bool(sizes) and holds_data(line, sizes[1])


def other_places(line, peer, ours):
    """Maps and counts, which show all that there is."""
    if both_map(peer, ours) or for_people(line, peer, ours):
        return shows_data(line, ours)
    found = [pieces(side.out) for side in (peer, ours)]
    if "-c 'map'" in line.text:
        return all(map(in_one_piece, found)) and \
            found[0][-1][1] == found[1][-1][1] and (
                ' -b ' in line.kind + line.before or
                covers_data(line, [(s, e) for s, e, is_used in found[1]
                                   if is_used]))
    return bool(only_counts(line, peer, ours))


def unwritten(line, peer, ours):
    """Subclusters that were preallocated."""
    return 'extended_l2' in line.kind and peer.status == ours.status and \
        peer.err == ours.err and other_places(line, peer, ours)


def keeps_bitmaps(line, peer, ours):
    return 'amend -o compat=0.10' in line.text and 'cannot keep' in ours.err


def with_snapshots(line, peer, ours):
    """Says why it is refused."""
    return 'amend -o compat=0.10' in line.text and \
        peer.status == ours.status != 0 and peer.out == ours.out and \
        'Internal snapshots prevent' in ours.err and \
        'Internal snapshots prevent' in peer.err


def look_through(line, peer, ours):
    told = [w for w in ours.err.split('\n') if 'show the new backing' not in w]
    return ' rebase ' in line.text and ours.err != peer.err == \
        '\n'.join(told) and \
        (peer.status, peer.out, peer.value) == (ours.status, ours.out,
                                                ours.value)


def says_why(line, peer, ours):
    return ' commit' in line.text and peer.status == ours.status and \
        peer.out == ours.out and \
        'Block job failed: Operation not supported' in peer.err and \
        'Could not resize the backing file' in ours.err


def lost_snapshots(line, peer, ours):
    return ' check -r' in line.text and 'snapshot -c' in line.before and \
        'bitmap --add' in line.before and 'corruptions' in peer.out and \
        ours.status == 0 and 'No errors were found' in ours.out


def leaked(line, peer, ours):
    return ' check' in line.text and ours.status == 0 and \
        'Leaked' in peer.err and not ours.err


# As docs/interop/differences.rst says under these names.
KNOWN = ((less_data, 'holes-found'), (smaller_measure, 'holes-found'),
         (fewer_ranges, 'holes-found'), (fewer_allocated, 'zero-clusters'),
         (strict_compare, 'holes-found'), (keeps_bitmaps, 'amend-bitmaps'),
         (with_snapshots, 'amend-snapshots'),
         (look_through, 'snapshots-look-through'), (says_why, 'commit-says-why'),
         (lost_snapshots, 'repair-keeps-snapshots'),
         (leaked, 'failed-undone'), (fewer_clusters, 'holes-found'),
         (mixed_pieces, 'mixed-pieces'), (zero_parts, 'zero-parts'),
         (zero_parts_measured, 'zero-parts'), (zero_parts_told, 'zero-parts'),
         (snapshot_size, 'snapshot-size'),
         (full_data_file, 'data-file-full'),
         (narrow_refcounts, 'narrow-refcounts'),
         (empty_disk, 'amend-empty'),
         (reserved, 'reserved-read'), (page_parts, 'holes-found'),
         (no_downgrade, 'amend-compression'), (grown, 'grown-v2'),
         (grown_over, 'grown-over'), (shared_table, 'shared-tables'),
         (no_place, 'places-shown'), (empty_vmdk, 'empty-vmdk'),
         (empty_bitmap, 'empty-bitmap'), (stream_written, 'stream-written'),
         (zeroes_have_no_place, 'zero-clusters'),
         (only_read, 'only-read'),
         (no_bitmaps, 'bitmaps-of-v2'),
         (raw_data, 'data-file-raw-zeroes'),
         (unwritten, 'subcluster-discard'))


def grown_tail(kind, lines):
    """Was the disk made smaller, and then larger?"""
    changes = [li for li in lines if ' resize ' in li or 'amend -o size' in li]
    return [(0, None)] if kind.fmt == 'qcow2' and len(changes) > 1 else []


def discarded(kind, lines):
    """Subclusters that the peer, which discards whole clusters, keeps."""
    return [(int(at), int(at) + int(n)) for line in lines for at, n in
            re.findall(r"'discard (\d+) (\d+)'", line)
            if 'extended_l2' in kind.kind]


# The same for the content of the disk: ranges, in which ours has zeroes.
KNOWN_CONTENT = ((grown_tail, 'grown-tail'), (discarded, 'subcluster-discard'))


def snapshot_tables(kind, lines):
    """Bytes: tables of snapshots, which the peer shares with the disk until it is
    written, and refcounts."""
    if kind.fmt != 'qcow2':
        return 0
    clusters = -(-40 * MIB // bytes_of(re.search(r'cluster_size=(\w+)',
                                                 kind.kind)[1]))
    entry = 16 if 'extended_l2' in kind.kind else 8
    number = len([li for li in lines if re.search('snapshot -[ca]', li)])
    return clusters * (entry * number + 8) if number else 0


# The same for the space that the image takes on the host: bytes.
KNOWN_SPACE = ((snapshot_tables, 'snapshot-tables'),)


def known_space(kind, lines):
    return sum(look(kind, lines) for look, name in KNOWN_SPACE
               if name in peercompare.differences())


def image_of(text):
    """Words that name the image of which a line tells where data is."""
    words = re.search(r'.*qemu-(img map|img measure|io) (.*)$', text)
    if not words:
        return None
    options = {'img map': r'--output=json|-[sl] \S+', 'io': r"-c '[^']*'",
               'img measure': r'--output=json|-[oO] \S+'}[words[1]]
    return re.sub(options, '', words[2])


def known(line, peer, ours):
    """The name of the difference."""
    return next((name for look, name in KNOWN
                 if name in peercompare.differences() and
                 look(line, peer, ours)), None)


TIMED_OUT = 124         # the status of timeout(1)
# Functions, of the image that @text is about, on our side: @disk() is its content,
# @unwritten() what its files reserve, @held(snapshot) a size and what it takes.
Line = namedtuple('Line', 'text fmt kind before disk unwritten held')
Answer = namedtuple('Answer', 'status out value err')


class Side:
    def __init__(self, folder, path):
        self.folder = folder
        self.env = dict(os.environ, LC_ALL='C', TZ='UTC',
                        PATH=path + ':' + os.environ['PATH'])
        os.mkdir(folder)

    def run(self, line):
        """The peer fails to measure the time that keys take on a busy host."""
        for _ in range(50):
            answer = self.try_(line)
            if 'CPU usage' not in answer.err:
                break
            time.sleep(0.1)
        return answer

    def try_(self, line):
        done = subprocess.run(['timeout', '120', 'bash', '-c', line],
                              cwd=self.folder, env=self.env, check=False,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return Answer(done.returncode,
                      *normal(done.stdout.decode(errors='replace')),
                      normal(done.stderr.decode(errors='replace'))[0])

    def peer(self, words):
        """What the peer's qemu-img says; None where it fails."""
        done = subprocess.run(f'/usr/bin/qemu-img {words}', cwd=self.folder,
                              shell=True, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        return done.stdout if done.returncode == 0 else None

    def disk(self, words):
        """The content of the disk that @words name."""
        if self.peer(f'convert {words} -O raw content') is None:
            return None
        path = os.path.join(self.folder, 'content')
        with open(path, 'rb') as file:
            found = file.read()
        os.unlink(path)
        return found

    def digest(self, words):
        found = self.disk(words)
        return None if found is None else hashlib.sha256(found).hexdigest()

    def told(self, text):
        """The content of the image of whose places @text tells."""
        words = image_of(text)
        return self.disk(words) if words else None

    def unwritten(self, text):
        """The ranges of the image of whose places @text tells that the host has
        reserved, and that were never written."""
        words = image_of(text) or ''
        chain = json.loads(self.peer(
            f'info --backing-chain --output=json {words}') or '[]')
        files = [self.data_file(image) for image in chain]
        places = json.loads(self.peer(f'map --output=json {words}') or '[]')
        found = []
        for e in places:
            begin = e.get('offset')
            if begin is not None and e['depth'] < len(files):
                found += [(max(start - begin, 0) + e['start'],
                           min(end - begin, e['length']) + e['start'])
                          for start, end in files[e['depth']]
                          if start < begin + e['length'] and end > begin]
        return found

    def data_file(self, image):
        """What was never written of the file with the data of @image."""
        name = image.get('format-specific', {}).get('data', {}).get(
            'data-file', image['filename'])
        return hostextents.unwritten(os.path.join(self.folder, name))

    def snapshot(self, kind, name):
        """The size of the disk in a snapshot, and what a disk of that size
        takes; None if there is no such snapshot."""
        with open(os.path.join(self.folder, kind.name), 'rb') as file:
            image = file.read()
        if kind.fmt != 'qcow2':
            return None
        number, at = struct.unpack_from('>IQ', image, 60)
        for _ in range(number):
            lengths = struct.unpack_from('>HH', image, at + 12)
            more = struct.unpack_from('>I', image, at + 36)[0]
            start = at + 40 + more + lengths[0]
            if image[start:start + lengths[1]].decode() == name and more >= 16:
                size = struct.unpack_from('>Q', image, at + 48)[0]
                told = self.peer(f'measure --size {size} -O qcow2')
                return size, int(told.split()[-1])
            at = -(-(start + lengths[1]) // 8) * 8
        return None

    def take(self, other):
        """What @other has."""
        shutil.copytree(other.folder, self.folder, dirs_exist_ok=True)

    def held(self, kind, line):
        """The content of the snapshot that @line applies."""
        words = re.search('snapshot -a (.*) ', line)
        return self.disk(f'-l {words[1]} {kind.flags()} {kind.ref()}') \
            if words else None

    def in_it(self, kind):
        """Digests of the disk and of its snapshots, by name."""
        image = f'{kind.flags()} {kind.ref()}'
        info = json.loads(self.peer(f'info --output=json {image}') or '{}')
        return {'': self.digest(image)} | {
            s['name']: self.digest(f'-l {s["name"]} {image}')
            for s in info.get('snapshots', ())}

    def content(self, kind):
        """Digests of the disk and of its snapshots and the status of a check,
        all as the peer sees them, and the size on the host."""
        path = os.path.join(self.folder, kind.name)
        if not os.path.exists(path):
            return None
        image = f'{kind.flags()} {kind.ref()}'
        digests = [self.digest(image)]
        if kind.fmt == 'qcow2':
            info = json.loads(self.peer(f'info --output=json {image}') or '{}')
            digests += [self.digest(f'-l {snapshot["name"]} {image}')
                        for snapshot in info.get('snapshots', ())]
        check = self.peer(f'check -q {image}') is not None
        return (digests, check), os.stat(path).st_blocks * 512


def known_content(kind, sides, done):
    """Do the disks differ only where ours is known to have zeroes?"""
    peer, ours = (side.disk(f'{kind.flags()} {kind.ref()}') for side in sides)
    if not peer or not ours or len(peer) != len(ours):
        return False
    ranges = [r for look, name in KNOWN_CONTENT
              if name in peercompare.differences() for r in look(kind, done)]
    for at in range(0, len(ours), 512):
        if peer[at:at + 512] != ours[at:at + 512] and not all(
                peer[i] == ours[i] or (not ours[i] and any(
                    start <= i and (end is None or i < end)
                    for start, end in ranges))
                for i in range(at, min(at + 512, len(ours)))):
            return False
    return True


def compare_content(comparison, kind, sides, done):
    peer, ours = (side.content(kind) for side in sides)
    cluster = 2 * MIB if re.search(r'cluster_size=\dM', kind.kind) else 0
    title = f'{kind.title}: content, and the check, after\n  ' + \
        '\n  '.join(done)
    if not peer or not ours:
        if peer != ours:
            comparison.differs(title, str(peer), str(ours))
        return
    better = peer[0][0] == ours[0][0] and ours[0][1]    # 'failed-undone'
    if not better and peer[0] != ours[0]:
        # Snapshots are the same, or each is its side's disk.
        disks = [side[0][0] for side in (peer, ours)]
        better = ours[0][1] >= peer[0][1] and len(disks[0]) == len(disks[1]) \
            and all(a == b or (a, b) == (disks[0][0], disks[1][0])
                    for a, b in list(zip(*disks))[1:]) \
            and known_content(kind, sides, done)
    if peer[0] != ours[0] and not better:
        comparison.differs(title, str(peer[0]), str(ours[0]))
    elif ours[1] > peer[1] + max(512 * KIB, 2 * cluster) + \
            known_space(kind, done):
        comparison.differs(title.replace('content, and the check', 'size'),
                           str(peer[1]), str(ours[1]))
    else:
        comparison.same(kind.title)


def keeps_all(line, before):
    """Is nothing in the image to change, nor in its snapshots?"""
    return 'snapshot -c' in before and re.search(
        r'qemu-img (amend -o (compat|refcount_bits|lazy)|check -r)', line)


def compare_kept(comparison, kind, sides, title, was):
    """@was: what our image had.  Where the peer has spoiled snapshots it goes on
    with our image, so that all that follows is compared."""
    peer, ours = (side.in_it(kind) for side in sides)
    if ours == was:
        comparison.same(f'{title}: what is in the image')
    else:
        comparison.differs(f'{title}: what is in the image, before and after',
                           str(was), str(ours))
    if 'amend -o compat=0.10' in title and peer[''] == ours[''] and \
            peer != ours == was and \
            'amend-snapshots' in peercompare.differences():
        sides[0].take(sides[1])


def compare_applied(comparison, kind, side, title, held):
    """@held: what the snapshot had.  As the peer shows no snapshot with a size of
    its own, what both have counts."""
    disk = side.disk(f'{kind.flags()} {kind.ref()}')
    if disk is None or held is None:
        same = disk is held
    else:
        size = min(len(disk), len(held))
        same = disk[:size] == held[:size]
    if same:
        comparison.same(f'{title}: what the disk has')
    else:
        comparison.differs(f'{title}: what the disk has', 'as the snapshot',
                           'something else')


def applied(content, line):
    """@content after the writes of @line."""
    content = bytearray(content)
    for pattern, at, n in re.findall(
            r"'write (-P \d+|-z|-zu) (\d+) (\d+)'", line):
        byte = int(pattern[3:]) if pattern.startswith('-P') else 0
        content[int(at):int(at) + int(n)] = bytes([byte]) * int(n)
    return bytes(content)


def compare_written(comparison, kind, side, title, should):
    if side.disk(f'{kind.flags()} {kind.ref()}') == should:
        comparison.same(f'{title}: what the disk has')
    else:
        comparison.differs(f'{title}: what the disk has', 'as was written',
                           'something else')


def compare_line(comparison, kind, sides, pool, line, done):
    """Is the next line to be compared, too?"""
    before = '\n  '.join(done)
    title = f'{kind.title}: {line}'
    was = sides[1].in_it(kind) if keeps_all(line, before) else None
    held = sides[1].held(kind, line)
    should = applied(sides[1].disk(f'{kind.flags()} {kind.ref()}'), line) \
        if 'streamOptimized' in kind.kind and done and \
        line.startswith('qemu-io ') else None
    peer, ours = pool.map(lambda side: side.run(line), sides)
    if peer.status == TIMED_OUT != ours.status:
        return False            # it needs minutes for some amends
    name = None if peer == ours else known(
        Line(line, kind.fmt, kind.kind, before,
             functools.lru_cache(lambda: sides[1].told(line)),
             functools.lru_cache(lambda: sides[1].unwritten(line)),
             functools.partial(sides[1].snapshot, kind)), peer, ours)
    title += f'\n  after\n  {before}'
    if peer == ours or name:
        comparison.same(title)
    else:
        comparison.differs(title, *('\n'.join(str(r).rstrip() for r in side)
                                    for side in (peer, ours)))
    if was is not None:
        compare_kept(comparison, kind, sides, title, was)
    if 'snapshot -a' in line and ours.status == 0:
        compare_applied(comparison, kind, sides[1], title, held)
    if should is not None:
        compare_written(comparison, kind, sides[1], title, should)
    if name in ('narrow-refcounts', 'stream-written'):
        sides[0].take(sides[1])
        return True
    # After that the images differ.
    return peer.status == ours.status and name != 'repair-keeps-snapshots'


def compare_kind(comparison, seed, paths):
    """What the kind is, and how many lines were compared."""
    rng = random.Random(seed)
    kind = imagekinds.Kind(rng, seed)
    lines = kind.lines + [kind.line() for _ in range(rng.randrange(8, 16))]
    with tempfile.TemporaryDirectory(prefix='generated-compare-') as top, \
            ThreadPoolExecutor(2) as pool:
        sides = [Side(os.path.join(top, name), path)
                 for name, path in zip(('peer', 'ours'), paths)]
        for number, line in enumerate(lines):
            if not compare_line(comparison, kind, sides, pool, line,
                                lines[:number]):
                return kind.kind, number + 1
        compare_content(comparison, kind, sides, lines)
    return kind.kind, len(lines)


def compare_seed(seed, paths):
    """In a process of its own: what it says and has counted."""
    comparison, out = peercompare.Comparison(), io.StringIO()
    with contextlib.redirect_stdout(out):
        kind, lines = compare_kind(comparison, seed, paths)
    return (out.getvalue(), comparison.total, comparison.different, kind,
            lines)


def main():
    ours, peer, words = peercompare.command_line(__doc__, 'qemu-img',
                                                 'qemu-io')
    if not all(re.fullmatch(r'\d+', w) for w in words) or len(words) > 2:
        sys.exit(__doc__)
    images, first = ([int(w) for w in words] + [650, 1][len(words):])[:2]
    comparison, kinds, lines = peercompare.Comparison(), set(), 0
    # Most of the time is waiting for the disk.
    with ProcessPoolExecutor(2 * os.cpu_count()) as pool:
        for said, total, different, kind, number in pool.map(
                functools.partial(compare_seed, paths=(peer, ours)),
                range(first, first + images)):
            print(said, end='', flush=True)
            comparison.total += total
            comparison.different += different
            kinds.add(kind)
            lines += number
    comparison.end(f'comparisons of {lines} command lines and {len(kinds)} '
                   'kinds of images')


if __name__ == '__main__':
    main()
