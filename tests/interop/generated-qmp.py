#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives sequences of QMP commands, drawn at random from the peer's schema, to the
programs of this tree and to the installed peer's, in equal folders, and compares
answers, events and their order, the states of jobs, and the images that result.

Usage: generated-qmp.py BUILD-FOLDER [PEER-FOLDER] [-v] [daemon|machine]
                        [SEQUENCES [SEED]]

SEQUENCES for each program (default: 300), from that SEED (default: 1) on, of some
twenty commands each.  Each command is followed by a wait, until no job changes.
What differs is told with its seed and as few of the commands before it as do it,
a line each, so that they can be typed.  Ends as qmp-compare.py does.
"""
import filecmp
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import imagekinds
import peercompare
from qmpdraw import Draw, Known
from qmpknown import files_of, known
from qmpprogram import Program, Schema

# --- images ---

IMAGES = [
    ('qcow2', 't.qcow2', '3M', "-c 'write -P 1 0 1M' -c 'write -P 2 2M 64k'"),
    ('qcow2', 'o.qcow2', '-b t.qcow2 -F qcow2', "-c 'write -P 3 512k 1M'"),
    ('qcow2', 'e.qcow2', '3M', ''),
    ('raw', 'r.raw', '3M', "-c 'write -P 4 64k 1M'"),
    ('raw', 'q.raw', '1M', ''),
    ('vmdk', 'v.vmdk', '3M', ''),
]


def make_images(folder, seed):
    """Fills @folder by the peer; returns {name: format}.  A LUKS volume would
    take long."""
    kind = imagekinds.Kind(random.Random(seed), seed)
    used = kind.fmt not in ('luks', *imagekinds.OLD) and not kind.data_file
    lines = [re.sub('/usr/bin/|-o preallocation=full', '', li)
             for li in kind.lines if used]
    for fmt, name, words, io in IMAGES:
        size = '' if words[0] == '-' else words
        lines.append(f'qemu-img create -q -f {fmt} '
                     f'{"" if size else words} {name} {size}')
        if io:
            lines.append(f'qemu-io -f {fmt} {io} {name}')
    subprocess.run(' ; '.join(lines), shell=True, cwd=folder, check=False,
                   env=dict(os.environ, PATH='/usr/bin:/bin'),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    files = {name: fmt for fmt, name, _, _ in IMAGES}
    if used:
        files[kind.name] = kind.fmt
    return files


def peer_img(folder, *words):
    """What the peer's qemu-img prints; None where it fails.  It opens an image
    that is its own backing file again and again."""
    try:
        return subprocess.run(['/usr/bin/qemu-img', *words], cwd=folder,
                              check=True, timeout=20, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None


def digest(folder, name, fmt):
    """Zeroes at the end of a file may be there or not."""
    if peer_img(folder, 'convert', '-f', fmt, '-O', 'raw', name,
                'content') is None:
        return None
    path = os.path.join(folder, 'content')
    with open(path, 'rb') as file:
        found = hashlib.sha256(
            file.read().rstrip(b'\0')).hexdigest()[:16]
    os.unlink(path)
    return found


def look_at_image(folder, name, with_content):
    """What counts of an image after the programs have ended."""
    info = json.loads(peer_img(folder, 'info', '--output=json', name) or '{}')
    fmt = info.get('format', 'none')
    data = info.get('format-specific', {}).get('data', {})
    seen = {'format': fmt, 'size': info.get('virtual-size'),
            'backing': clean(info.get('backing-filename')),
            'bitmaps': data.get('bitmaps'),
            'snapshots': [s['name'] for s in info.get('snapshots', ())]}
    if fmt == 'raw':
        del seen['size']
    else:
        seen['check'] = peer_img(folder, 'check', '-q', '-f', fmt,
                                 name) is not None
    if with_content:
        seen['content'] = digest(folder, name, fmt)
    return seen


# --- running ---

STABLE = {'ready', 'paused', 'standby', 'pending', 'concluded'}
HIDDEN = {'actual-size', 'cid', 'date-sec', 'date-nsec', 'vm-clock-sec',
          'vm-clock-nsec', 'uuid', 'timestamp', 'safety', 'iters',
          'master-key-iters', 'key-offset', 'payload-offset', 'offset', 'qemu',
          'package'}
COUNTS = {'current-progress', 'total-progress', 'len', 'offset', 'busy'}


# Of formats; the peer's backups count whole clusters of their target.
LARGEST_CLUSTER = 8 << 20

FILTERS = [
    (r'#block\d+', '#block'), (r'[\d.]+ sec.*', 'TIME'),
    (r'/tmp/generated-qmp-\w+/(peer|ours)/', ''),
    # Which of several is named is by chance.
    (r"(change the option '[\w-]+)\.[^']*", r'\1'),
    # Who is named first, and by what lock it is seen, depends on the graph.
    (r'Permission conflict on node.*', 'Permission conflict'),
    (r"Option '.*' cannot be reset", 'Some option cannot be reset'),
    (r'Failed to get (shared )?".*" lock', 'Failed to get LOCK'),
]


class Died(Exception):
    """A program ended, or does not answer."""


def plain_name(options):
    """A file name of @options; without a backing file it is as good as one."""
    file = options.get('file')
    if isinstance(file, dict) and set(file) == {'driver', 'filename'} and \
            set(options) == {'driver', 'file', 'backing'} and \
            options['backing'] is None:
        return file['filename']
    return {'json': options}


def clean(value):
    """@value without what differs between two runs of one program."""
    if isinstance(value, dict):
        hidden = HIDDEN | {'virtual-size'} if value.get('format') == 'file' \
            else HIDDEN
        value = {k: clean(v) for k, v in value.items() if k not in hidden}
        bitmaps = value.get('dirty-bitmaps')
        if isinstance(bitmaps, list):       # others are those of filters
            value['dirty-bitmaps'] = [b for b in bitmaps if 'name' in b]
            if not value['dirty-bitmaps']:
                del value['dirty-bitmaps']
        return value
    if isinstance(value, list):
        value = [clean(v) for v in value]
        return sorted(value, key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, str):
        if value.startswith('json:'):
            try:
                return plain_name(clean(json.loads(value[5:])))
            except ValueError:
                pass
        return peercompare.normal(value, FILTERS)
    return value


def event_data(event):
    data = dict(clean(event.get('data', {})))
    if event['event'].startswith('BLOCK_JOB_') and (
            data.get('type') in ('mirror', 'commit') or
            data.get('len') != event['data'].get('offset')):
        data.pop('len', None)   # in units of the program's
    if data.get('type') == 'backup' and 'len' in data:
        data['len'] = -(-data['len'] // LARGEST_CLUSTER)
    return [event['event'], data]


class Side:
    """One program in its folder."""

    def __init__(self, kind, programs, folder, schema):
        """@schema: the peer's."""
        self.kind, self.folder, self.schema = kind, folder, schema
        more = ('-drive', 'if=none,id=d0') if kind == 'machine' else ()
        self.program = Program(kind, programs, folder, 'none', more)
        self.idle = set()           # jobs that run until they are cancelled
        self.unfinished = False     # a job that left its target half done
        for name, arguments in (
                ('object-add', {'qom-type': 'throttle-group', 'id': 'tg'}),
                ('object-add', {'qom-type': 'secret', 'id': 'sec',
                                'data': 'key'})):
            self.call(name, arguments)

    def call(self, name, arguments=None):
        answer = self.program.call(name, arguments)
        if 'died' in answer:
            raise Died(str(answer['died']))
        return answer

    def jobs(self):
        """What is known of jobs, and whether it stays so."""
        jobs = self.call('query-jobs')['return']
        states = sorted((j['id'], j['type'], j['status'],
                         clean(j.get('error', '')))
                        for j in jobs)
        if any(j['status'] not in STABLE for j in jobs):
            slow = {j['device'] for j in
                    self.call('query-block-jobs')['return']
                    if 0 < j['speed'] < 1 << 20 or j['paused'] or
                    j['device'] in self.idle}
            return states, all(j['status'] in STABLE or j['id'] in slow or
                               (j['status'] == 'waiting' and slow)
                               for j in jobs)
        return states, True

    def settle(self, command):
        """Waits until nothing changes any more; the states of jobs."""
        if 'export' in command or 'nbd' in command:
            self.await_exports()
        before, deadline = None, time.monotonic() + 3
        while True:
            states, stable = self.jobs()
            if (stable and states == before) or (stable and not states):
                break
            if time.monotonic() > deadline:
                break
            before = states
            time.sleep(0.004)
        self.unfinished |= any(s in ('running', 'paused', 'pending', 'ready',
                                     'waiting') or error
                               for _, _, s, error in states)
        return states

    def await_exports(self):
        for _ in range(200):
            exports = self.call('query-block-exports')['return']
            if not any(e['shutting-down'] for e in exports):
                break
            time.sleep(0.004)

    def run(self, command, arguments):
        """(answer, events, states of jobs)."""
        self.program.events = []
        self.idle |= set(idle_jobs(command, arguments))
        if command == 'write':
            answer = self.write(arguments)
        else:
            answer = self.call(command, arguments)
        jobs = self.settle(command)
        events = without_drains([event_data(e) for e in self.program.events])
        if command == 'blockdev-create':    # ours drops what was there
            self.unfinished = True
        self.unfinished |= any(n in ('BLOCK_JOB_ERROR', 'BLOCK_JOB_CANCELLED')
                               or 'error' in d for n, d in events)
        return [self.outcome(command, answer, jobs), by_job(events), jobs]

    def outcome(self, command, answer, jobs):
        """What of @answer counts."""
        if 'error' in answer:
            return {'error': clean(answer['error'])}
        value = answer['return']
        if command in self.schema.commands:
            value = self.schema.only_known(
                value, self.schema.commands[command]['ret-type'])
        value = clean(value)
        if command == 'query-blockstats':
            value = shape(value)
        if command == 'x-debug-query-block-graph':
            value = graph(answer['return'], jobs)
        if command in ('query-jobs', 'query-block-jobs'):
            value = [{k: v for k, v in j.items() if k not in COUNTS}
                     for j in value]
        return {'return': value}

    def write(self, arguments):
        """As a guest or a client would."""
        text = f'-P {arguments["byte"]} {arguments["offset"]} ' \
            f'{arguments["length"]}'
        if self.kind == 'machine':
            return self.call('human-monitor-command', {
                'command-line': f'qemu-io {arguments["node"]} "write {text}"'})
        uri = f'nbd+unix:///{arguments["node"]}?socket=s.sock'
        done = subprocess.run(
            ['/usr/bin/qemu-io', '-f', 'raw', '-c', f'write {text}', uri],
            cwd=self.folder, check=False, timeout=30,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return {'return': done.stdout.decode(errors='replace')}

    def quit(self):
        self.program.call('quit')
        try:
            return self.program.process.wait(10)
        except subprocess.TimeoutExpired:
            return 'does not end'

    def end(self):
        self.program.end()


def without_drains(events):
    """@events but for those of a job that waits while the graph changes, and of
    one that was not to be."""
    kept = []
    for event in events:
        kept.append(event)
        last = [e for e in kept if e[0] == 'JOB_STATUS_CHANGE' and
                e[1]['id'] == event[1].get('id')][-2:]
        states = [e[1]['status'] for e in last]
        if event[0] == 'JOB_STATUS_CHANGE' and len(last) == 2 and (
                states[0] in ('standby', 'paused') or
                states == ['created', 'null']):
            kept = [e for e in kept if not any(e is x for x in last)]
    return kept


def by_job(events):
    """Those of each job in order, as jobs that run side by side end in any."""
    found = {}
    for name, data in events:
        key = data.get('device') if name.startswith('BLOCK_JOB') else \
            data.get('id') if name.startswith('JOB') else ''
        found.setdefault(key or '', []).append([name, data])
    return found


def graph(value, jobs):
    """Edges by the names at their ends; what jobs insert is their business."""
    if jobs:
        return 'with jobs'
    names = {n['id']: clean(n['name']) if n['type'] == 'block-driver' else ''
             for n in value['nodes']}
    return sorted([names[e['parent']], e['name'], names[e['child']]]
                  for e in value['edges'])


def shape(value):
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return value if isinstance(value, str) else type(value).__name__


# --- comparing ---

class Pair:
    """Both programs, on equal images."""

    def __init__(self, kind, seed, folders, top, schema):
        self.sides, self.spoilt, self.nodes = [], {'s.sock'}, {}
        model = os.path.join(top, 'model')
        if not os.path.exists(model):
            os.mkdir(model)
            self.files = make_images(model, seed)
        for side, programs in zip(('peer', 'ours'), folders):
            folder = os.path.join(top, side)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(model, folder)
            self.sides.append(Side(kind, programs, folder, schema))

    def run(self, command, arguments):
        """The outcomes; (None, ...) where the peer ends."""
        outcomes = []
        for side in self.sides:
            try:
                outcomes.append(side.run(command, arguments))
            except Died as why:
                outcomes.append({'died': str(why)})
        if "'error'" in str(outcomes) or command == 'blockdev-create':
            self.spoilt |= {name for name in new_files(command, arguments)
                            if isinstance(name, str)}
        if command == 'blockdev-add' and 'node-name' in (arguments or {}):
            self.nodes[arguments['node-name']] = arguments
        if command == 'blockdev-create' and creation_failed(outcomes):
            self.spoilt |= set(files_of(arguments['options'].get('file'),
                                        self.nodes))
        return outcomes

    def images(self):
        """What the programs leave; as run() where the peer does not end."""
        status = [side.quit() for side in self.sides]
        if status[0] == 'does not end':
            return [{'died': status[0]}, [status[1], {}]]
        content = not any(side.unfinished for side in self.sides)
        names = set()
        for side in self.sides:
            names |= set(os.listdir(side.folder))
        names = [n for n in sorted(names - self.spoilt) if not self.equal(n)]
        return [[status[i], {n: look_at_image(side.folder, n, content)
                             for n in names}]
                for i, side in enumerate(self.sides)]

    def equal(self, name):
        paths = [os.path.join(side.folder, name) for side in self.sides]
        return all(map(os.path.isfile, paths)) and \
            filecmp.cmp(*paths, shallow=False)

    def end(self):
        for side in self.sides:
            side.end()


def creation_failed(outcomes):
    """Did a job that makes an image fail?  What it leaves is no image."""
    return any(j[1] == 'create' and j[3] for o in outcomes
               if isinstance(o, list) for j in o[2])


def idle_jobs(command, arguments):
    """Backups that only save what is overwritten."""
    if command == 'transaction':
        for action in arguments.get('actions', ()):
            yield from idle_jobs(action['type'], action['data'])
    elif command.endswith('-backup') and arguments.get('sync') == 'none':
        yield arguments.get('job-id', '')


def new_files(command, arguments):
    """Files that commands make, and leave where they fail later."""
    if command == 'transaction':
        for action in arguments.get('actions', ()):
            yield from new_files(action['type'], action['data'])
    elif command.startswith('drive-'):
        yield arguments.get('target')
    elif command == 'blockdev-create':
        file = arguments.get('options', {}).get('file')
        if isinstance(file, dict):
            yield file.get('filename')
    elif command == 'blockdev-snapshot-sync':
        yield arguments.get('snapshot-file')


def write_drawn(draw, kind):
    known_ = draw.known
    node = draw.node() if kind == 'machine' else \
        draw.one_of(known_.exports)
    return 'write', {'node': node, 'byte': draw.rng.randrange(256),
                     'offset': draw.rng.choice((0, 512, 65536, 1 << 20)),
                     'length': draw.rng.choice((512, 65536, 200000 // 512 * 512))}


def prelude(draw):
    """Some images, so that commands have something to work on."""
    wild, draw.wild = draw.wild, 0
    lines = [('blockdev-add', draw.image())
             for _ in range(draw.rng.choice((2, 3, 3)))]
    lines.append(('blockdev-add', {
        'driver': 'null-co', 'node-name': draw.fresh('n'), 'size': 3 << 20,
        'read-zeroes': True}))
    draw.wild = wild
    return lines


def text_of(command, arguments):
    return command + ('' if arguments is None else
                      ' ' + json.dumps(arguments, sort_keys=True))


class Sequences:
    def __init__(self, comparison, kind, folders):
        self.comparison, self.kind, self.folders = comparison, kind, folders
        self.peer_died = 0
        with tempfile.TemporaryDirectory(prefix='generated-qmp-') as top:
            programs = [Program(kind, f, top, 'none') for f in folders]
            self.schemas = [Schema(p) for p in programs]
            for p in programs:
                p.end()

    def replay(self, seed, lines, top):
        """The outcomes of the last of @lines."""
        pair = Pair(self.kind, seed, self.folders, top, self.schemas[0])
        try:
            for line in lines[:-1]:
                outcomes = pair.run(*line)
                if any('died' in o for o in outcomes):
                    return None
            return pair.images() if lines[-1][0] == 'quit' else \
                pair.run(*lines[-1])
        finally:
            pair.end()

    def reduced(self, seed, lines, outcomes, top):
        """As few of @lines as still end so."""
        at = len(lines) - 2
        while at >= 0:
            fewer = lines[:at] + lines[at + 1:]
            if self.replay(seed, fewer, top) == outcomes:
                lines = fewer
            at -= 1
        return lines

    def one(self, seed):
        """Runs one sequence."""
        rng = random.Random(f'{self.kind} {seed}')
        with tempfile.TemporaryDirectory(prefix='generated-qmp-') as top:
            pair = Pair(self.kind, seed, self.folders, top, self.schemas[0])
            draw = Draw(rng, *self.schemas, Known(pair.files))
            ahead = prelude(draw)
            lines = []
            try:
                for _ in range(rng.randrange(16, 26)):
                    line = ahead.pop(0) if ahead else \
                        write_drawn(draw, self.kind) if rng.random() < 0.1 \
                        else draw.command()
                    lines.append(line)
                    outcomes = pair.run(*line)
                    if not self.same(lines, outcomes):
                        break
                    if 'return' in outcomes[0][0]:
                        draw.known.learn(*line)
                else:
                    lines.append(('quit', None))
                    outcomes = pair.images()
                    self.same(lines, outcomes)
            finally:
                pair.end()
            if self.is_different(lines, outcomes):
                lines = self.reduced(seed, lines, outcomes, top)
                self.tell(seed, lines, outcomes)

    def is_different(self, lines, outcomes):
        """Is the last of @lines answered otherwise than by the peer?"""
        peer, ours = outcomes
        return 'died' not in peer and peer != ours and \
            not known(text_of(*lines[-1]), peer, ours, lines[:-1])

    def same(self, lines, outcomes):
        """May the sequence go on?"""
        peer, ours = outcomes
        if 'died' in peer:
            self.peer_died += 1
            return False
        different = self.is_different(lines, outcomes)
        if not different:
            self.comparison.same(text_of(*lines[-1]))
        both_failed = lines[-1][0] != 'quit' and 'died' not in ours and all(
            isinstance(o[0], dict) and 'error' in o[0] for o in outcomes)
        return peer == ours or (both_failed and not different)

    def tell(self, seed, lines, outcomes):
        title = '%s %d: %s' % (self.kind, seed, '\n  '.join(
            text_of(*line) for line in lines))
        self.comparison.differs(title, *difference(*outcomes))


def difference(peer, ours):
    """Only what differs, as text."""
    if isinstance(peer, dict) and isinstance(ours, dict):
        keys = [k for k in sorted(set(peer) | set(ours))
                if peer.get(k) != ours.get(k)]
        if len(keys) == 1 and keys[0] in peer and keys[0] in ours:
            return ['%s: %s' % (keys[0], t) for t in
                    difference(peer[keys[0]], ours[keys[0]])]
    if isinstance(peer, list) and isinstance(ours, list) and \
            len(peer) == len(ours):
        at = [i for i, p in enumerate(peer) if p != ours[i]]
        if len(at) == 1:
            return difference(peer[at[0]], ours[at[0]])
        return [json.dumps([side[i] for i in at], sort_keys=True)
                for side in (peer, ours)]
    return [json.dumps(side, sort_keys=True) for side in (peer, ours)]


def main():
    ours, peer, words = peercompare.command_line(
        __doc__, 'qemu-storage-daemon', 'qemu-system-x86_64', 'qemu-img')
    kinds = [w for w in words if w in ('daemon', 'machine')]
    words = [w for w in words if w not in kinds]
    if not all(re.fullmatch(r'\d+', w) for w in words) or len(words) > 2:
        sys.exit(__doc__)
    count, first = ([int(w) for w in words] + [300, 1][len(words):])[:2]
    comparison = peercompare.Comparison()
    for kind in kinds or ('daemon', 'machine'):
        sequences = Sequences(comparison, kind, (peer, ours))
        for seed in range(first, first + count):
            sequences.one(seed)
        print(f'{kind}: {count} sequences; the peer ended in '
              f'{sequences.peer_died}')
    comparison.end('comparisons')


if __name__ == '__main__':
    main()
