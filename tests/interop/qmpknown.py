# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the outcomes of sequences of QMP commands is known to differ from the
peer's, and its name in docs/interop/differences.rst.
"""
import json
import re

from qmpsentences import of_one_mistake

# What is known to differ: of a command with its arguments, of the peer's and of
# our outcome, and its name in docs/interop/differences.rst.  Two sentences about
# one mistake are those of qmpsentences.py.
KNOWN = [
    ('"copy-on-read"', 'Block node is read-only', r'^\[{"return"',
     'copy-on-read-ro'),
    ('', 'Need a root block node|is in use|is busy|Failed to get LOCK',
     r'^\[{"return".*"concluded"', 'concluded-lets-go'),
    ('.*"persistent": true', r'^\[{"return"', 'node is read-only',
     'bitmap-of-read-only'),
    ('.*"persistent": true', r'^\[{"return"',
     'The disk has a size of 0, with which other programs', 'empty-bitmap'),
    (r'blockdev-add .*"driver": "blkdebug".*: \[\]',
     "Block protocol 'blkdebug' doesn't support the option", r'^\[{"return"',
     'empty-list'),
    ('(drive|blockdev)-mirror', 'image have different sizes',
     'image have different sizes', 'mirror-refused-early'),
    ('"driver": "blkverify"', r'^\[{"return"', 'disks of the same size',
     'blkverify-sizes'),
    ('blockdev-add', '"error"', 'Duplicate nodes|Invalid node-name|setting '
     'detect-zeroes|force-share', 'own-name-first'),
    ('blockdev-reopen', 'does not support reopening|Cannot change the option|'
     'Some option cannot be reset to its default value',
     r'^\[{"return"', 'reopen-more'),
    ('"quorum"', 'refresh total sector count', 'children of quorum',
     'other-words'),
    ('"encrypt"', 'No encryption in image header', "the option 'encrypt'",
     'other-words'),
    ('blockdev-reopen', r'^\[{"return"',
     'show another part|is busy: |resize is not shared', 'raw-moved'),
    ('"driver": "snapshot-access"', r'^\[{"return"', 'is no copy-before-write',
     'snapshot-access-of'),
    ('blockdev-insert-medium', "Device '.*' not found", "Node '.*' not found",
     'node-first'),
    ('[:[] ?-[1-9]', '', r'^\[{"error".* expects uint64"}', 'negative-sizes'),
    ('', '', r'^\[{"error".*"Parameter \S+ \S+ is not supported: ',
     'what-instead'),
    ('blockdev-snapshot|transaction', r'^\[{"return"',
     r"\(driver 'mirror_top'\) cannot have the data of its 'target' child ",
     'mirror-target-backing'),
    ('blockdev-reopen', r'^\[{"return"',
     r"\(driver '(qcow2|vmdk|vdi|vhdx|vpc|luks)'\) cannot have its 'file' child "
     'changed to node', 'reopen-format-file'),
    ('blockdev-add .*"backing": {"driver": "(file|host_device)"',
     "Can't specify 'file' and 'filename' options at the same time",
     r'^\[{"return"', 'backing-inline'),
    ('block-commit', r'^\[{"return".*"concluded", "Operation not supported"|'
     r'^\[{"return".*"error": "Operation not supported"',
     'Image format driver does not support resize', 'commit-refused-early'),
    ('block-stream .*"bottom"', 'but streaming the entire chain',
     r'^\[{"return"', 'stream-bottom-name'),
    ('nbd-server-start .*"path": ""', r'^\[{"return"',
     'The path of a UNIX socket must not be empty', 'empty-socket-path'),
    ('blockdev-(insert|remove|change)-medium .*"id": ""|blockdev-(open|close)-tray '
     '.*"id": ""|eject .*"id": ""', ' is not a ', "Device '' not found",
     'empty-id'),
    ('block_resize', r'^\[{"return"', 'blkverify does not support resize',
     'blkverify-sizes'),
    ('blockdev-create .*"preallocation": "(falloc|full)"',
     'Cannot use preallocation for shrinking files',
     r'^\[{"return".*"concluded", ""\]', 'preallocated-in-larger'),
    ('drive-(backup|mirror)', "Format driver '(blkdebug|blkverify|compress|"
     "copy-before-write|copy-on-read|preallocate|throttle)' does not support "
     'image creation', '', 'format-below-filters'),
]


def other_mistake(text, peer, ours):
    """Do both tell a mistake, in the answer or of a job, in sentences that may
    stand for one another, and nothing else?"""
    if len(peer) != 3 or len(ours) != 3:
        return None             # what is left of images
    sides = [s[0] if isinstance(s[0], dict) else {} for s in (peer, ours)]
    if all('error' in s for s in sides):
        errors = [s['error'] for s in sides]
        if peer[1:] != ours[1:] or errors[0]['class'] != errors[1]['class']:
            return None
        return of_one_mistake(text, *(e['desc'] for e in errors))
    if peer[:2] != ours[:2] or \
            [j[:3] for j in peer[2]] != [j[:3] for j in ours[2]]:
        return None
    names = [of_one_mistake('blockdev-create', a[3], b[3])
             for a, b in zip(peer[2], ours[2]) if a != b]
    return names[0] if names and all(names) else None


def mentions(value, names):
    """Is one of @names in @value, options of a node?"""
    if isinstance(value, dict):
        return any(mentions(v, names) for k, v in value.items()
                   if k != 'node-name')
    if isinstance(value, list):
        return any(mentions(v, names) for v in value)
    return isinstance(value, str) and value in names


def files_of(node, nodes):
    """The names of the files of @node, which is a name of @nodes, or options."""
    if isinstance(node, str):
        node = nodes.get(node)
    if not isinstance(node, dict):
        return
    if isinstance(node.get('filename'), str):
        yield node['filename']
    for key in ('file', 'image', 'raw', 'test'):
        yield from files_of(node.get(key), nodes)


def added(before):
    return {a['node-name']: a for command, a in before
            if command == 'blockdev-add' and 'node-name' in (a or {})}


def of_mirrors(lines, jobs):
    """The nodes that mirror jobs copy from, among @jobs, and those over them;
    the same for commits, which are mirrors, too, with all that is below."""
    nodes_added = added(lines)
    running = {j[0]: j[1] for j in jobs
               if j[1] in ('mirror', 'commit') and j[2] != 'concluded'}
    nodes = {'mirror': set(), 'commit': set()}
    for command, a in lines:
        kind = running.get(str((a or {}).get('job-id', (a or {}).get('device'))))
        if kind and command in ('blockdev-mirror', 'drive-mirror',
                                'block-commit'):
            nodes[kind] |= {str(a[k]) for k in ('device', 'top-node',
                                                'base-node') if k in a}
    for _ in nodes_added:
        for kind, found in nodes.items():
            found |= {n for n, a in nodes_added.items() if mentions(a, found)}
            if kind == 'commit':
                found |= {n for n in nodes_added for over in found
                          if over in nodes_added and
                          mentions(nodes_added[over], {n})}
    return nodes


def new_writer(text, peer, ours, before):
    """A new user of a node of a mirror is refused who writes, or who reads what is
    being committed."""
    command, _, words = text.partition(' ')
    if command not in ('block-export-add', 'nbd-server-add', 'write') or \
            peer[1:] != ours[1:] or 'Permission conflict' not in str(ours[0]):
        return False
    a = json.loads(words)
    nodes = of_mirrors(before, ours[2])
    writes = command == 'write' or a.get('writable')
    node = a.get('node-name', a.get('node', a.get('device')))
    return 'Permission conflict' not in str(peer[0]) and (
        'return' in peer[0] or 'NBD server not running' in str(peer[0])) and (
            node in nodes['commit'] or (writes and node in nodes['mirror']))


def under_blkverify(before):
    """Nodes of this driver, and those that they compare."""
    for command, a in before:
        if command == 'blockdev-add' and (a or {}).get('driver') == 'blkverify':
            yield from (n for n in (a.get('node-name'), a.get('test'),
                                    a.get('raw')) if isinstance(n, str))


def blkverify_alone(text, peer, ours, before):
    command, _, words = text.partition(' ')
    return command in ('block-export-add', 'write') and \
        'Permission conflict' in str(ours[0]) and \
        'Permission conflict' not in str(peer[0]) and \
        mentions(json.loads(words), set(under_blkverify(before)))


def blkverify_resized(text, peer, ours, before):
    command, _, words = text.partition(' ')
    return command == 'block_resize' and 'return' in peer[0] and \
        'Permission conflict' in str(ours[0]) and \
        mentions(json.loads(words), set(under_blkverify(before)))


def without_mirror_ro(outcome):
    return json.dumps(sorted(
        (json.dumps({k: v for k, v in node.items() if k != 'ro' or
                     node.get('drv') != 'mirror_top'}, sort_keys=True)
         for node in outcome[0].get('return', ()))))


def mirror_ro(text, peer, ours, _before):
    return text.startswith('query-named-block-nodes') and \
        peer[1:] == ours[1:] and \
        without_mirror_ro(peer) == without_mirror_ro(ours)


def without_counts(outcome, targets):
    """Without what bitmaps of the nodes @targets count."""
    return json.dumps(sorted(
        (json.dumps({k: [dict(b, count=0) for b in v]
                     if k == 'dirty-bitmaps' and node['node-name'] in targets
                     else v for k, v in node.items()}, sort_keys=True)
         for node in outcome[0].get('return', ()))))


def target_bitmaps(text, peer, ours, before):
    targets = {a.get('target') for command, a in before
               if command == 'blockdev-mirror'}
    return text.startswith('query-named-block-nodes') and \
        peer[1:] == ours[1:] and \
        without_counts(peer, targets) == without_counts(ours, targets)


def held_by_concluded(text, peer, ours, _before):
    """The peer says that a job holds a node that is concluded; ours finds another
    mistake."""
    error = str(peer[0].get('error', ''))
    found = re.search(r'is busy: block device is in use by block job: (\w+)',
                      error)
    resized = text.startswith('block_resize') and \
        re.search(r"Device '.*' is in use", error)
    above = 'Need a root block node' in error   # its filter
    return 'error' in ours[0] and any(
        j[2] == 'concluded' and (resized or above or
                                 (found and j[1] == found[1]))
        for j in ours[2])


def vmdk_overlays(before):
    """Their nodes."""
    nodes = added(before)
    return {a['overlay'] for command, a in before
            if command == 'blockdev-snapshot' and
            nodes.get(a['overlay'], {}).get('driver') == 'vmdk'}


def has_more_filters(text, peer, ours):
    """Does the peer list nodes without a given name that ours lacks, and nothing
    else?"""
    left = list(peer[0].get('return', ()))
    if not re.match('query-(blockstats|named-block-nodes)', text) or \
            peer[1:] != ours[1:]:
        return False
    for node in ours[0].get('return', ()):
        if node not in left:
            return False
        left.remove(node)
    return all(node.get('node-name') == '#block' for node in left)


def filter_of_concluded(text, peer, ours, _before):
    return any(j[2] == 'concluded' for j in ours[2]) and \
        has_more_filters(text, peer, ours)


def filter_of_stream(text, peer, ours, _before):
    return any(j[1:3] in (['stream', 'pending'], ('stream', 'pending'))
               for j in ours[2]) and has_more_filters(text, peer, ours)


def overlay_backed_up(text, peer, ours, before):
    command, _, words = text.partition(' ')
    nodes = {a.get(k) for c, a in before if c == 'blockdev-backup' and
             any(j[0] == a.get('job-id') and j[2] != 'concluded'
                 for j in ours[2]) for k in ('device', 'target')}
    return command == 'blockdev-snapshot' and \
        json.loads(words).get('overlay') in nodes and \
        'The overlay is already in use' in str(ours[0]) and \
        ('return' in peer[0] or 'already has a backing image' in str(peer[0]))


def data_files(before):
    """Nodes that blockdev-create was given for data files."""
    return [a.get('options', {}).get('data-file') for command, a in before
            if command == 'blockdev-create']


def vmdk_written(text, peer, ours, before):
    command, _, words = text.partition(' ')
    return command == 'write' and \
        'write failed: Invalid argument' in str(peer[0]) and \
        'failed' not in str(ours[0]) and \
        mentions(json.loads(words), vmdk_overlays(before))


def vmdk_streamed(text, peer, ours, before):
    """A job that reads such an overlay fails at once; ours at its end, when it
    changes the backing file."""
    command, _, words = text.partition(' ')
    return command == 'block-stream' and \
        json.loads(words).get('device') in vmdk_overlays(before) and \
        [j[2:] for j in peer[2]] == [('concluded', 'Invalid argument')] and \
        [j[2:] for j in ours[2]] == [('concluded', 'Operation not supported')]


def over_filters(before):
    """Files that blockdev-snapshot-sync made over filters."""
    nodes = added(before)
    return [{'filename': a['snapshot-file']} for command, a in before
            if command == 'blockdev-snapshot-sync' and
            nodes.get(a.get('node-name', a.get('device')), {}).get('driver') in
            ('blkdebug', 'compress', 'copy-on-read', 'preallocate', 'throttle')]


def over_compress(before):
    """Nodes of "preallocate" over "compress"."""
    nodes = added(before)
    for name, a in nodes.items():
        below = a.get('file')
        below = nodes.get(below) if isinstance(below, str) else below
        if a['driver'] == 'preallocate' and isinstance(below, dict) and \
                below.get('driver') == 'compress':
            yield name


def compressed_write(text, peer, ours, before):
    command, _, words = text.partition(' ')
    return command == 'write' and \
        'write failed: Input/output error' in str(peer[0]) and \
        'failed' not in str(ours[0]) and \
        mentions(json.loads(words), set(over_compress(before)))


def resized_under_raw(text, peer, ours, before):
    """The peer resizes the file of a node that was reopened as a part of it."""
    moved = any(o.get('driver') == 'raw' and {'size', 'offset'} & set(o)
                for command, a in before if command == 'blockdev-reopen'
                for o in a.get('options', ()))
    return text.startswith('blockdev-create') and moved and \
        'Failed to get LOCK' in str(ours[2]) and \
        'Failed to get LOCK' not in str(peer[2])


# What of images may differ: functions that find their nodes, members that are told
# of an image, and the name.
KNOWN_IMAGES = [
    (vmdk_overlays, {'content'}, 'vmdk-overlay'),
    (data_files, {'content', 'size'}, 'data-file-kept'),
    (over_filters, {'backing', 'content'}, 'names-no-filters'),
    (over_compress, {'content'}, 'preallocate-compress'),
]


def known_image(peer, ours, before):
    """Do images differ only so?"""
    nodes = added(before)
    for find, members, name in KNOWN_IMAGES:
        files = {f for node in find(before) for f in files_of(node, nodes)}
        sides = [{n: {k: v for k, v in image.items() if k not in members}
                  if n in files else image for n, image in side[1].items()}
                 for side in (peer, ours)]
        if peer[0] == ours[0] and sides[0] == sides[1]:
            return name
    return None


# Functions that look at an outcome, which has an answer, events and jobs.
KNOWN_OUTCOMES = [
    (new_writer, 'mirror-new-writers'), (blkverify_alone, 'blkverify-alone'),
    (blkverify_resized, 'blkverify-sizes'), (mirror_ro, 'mirror-filter-ro'),
    (held_by_concluded, 'concluded-lets-go'), (vmdk_written, 'vmdk-overlay'),
    (vmdk_streamed, 'vmdk-overlay'),
    (filter_of_concluded, 'concluded-lets-go'),
    (filter_of_stream, 'stream-without-filter'),
    (compressed_write, 'preallocate-compress'),
    (resized_under_raw, 'raw-moved'),
    (overlay_backed_up, 'overlay-backed-up'),
    (target_bitmaps, 'mirror-skips-zeroes'),
]


def known(text, peer, ours, before=()):
    """The name of the difference; @before: the lines before."""
    if 'died' in ours:
        return None
    if len(ours) == 2:
        return known_image(peer, ours, before)
    name = other_mistake(text, peer, ours)
    if name:
        return name
    for look, name in KNOWN_OUTCOMES:
        if look(text, peer, ours, before):
            return name
    sides = [json.dumps(side, sort_keys=True) for side in (peer, ours)]
    return next((name for *patterns, name in KNOWN if all(
        re.search(p, t, re.S) for p, t in zip(patterns, [text, *sides]))),
        None)
