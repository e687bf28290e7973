# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a machine is stopped when it migrates: with 0, 1 and 8 bitmaps of 64
KiB on a disk of 16 TiB that is 1 % dirty, ours and the installed QEMU's.

First bitmaps that the stream carries, of a disk that has no place for them; then
persistent ones of an image on shared storage, where they are stored instead, and
last both.

The time from the event STOP at the source to RESUME at the destination, by the
clock of the events.  QEMU's does not end with some of these: the limit of its
downtime counts all bits.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qemu-iotests'))

import qmp                                                     # noqa: E402

TIB = 1 << 40
SIZE = 16 * TIB
RUNS = 100                 # dirty runs on the disk, 1 % of it in all
PEER = '/usr/bin/qemu-system-x86_64'
NULL = '{"driver": "null-co", "node-name": "disk", "size": %d}' % SIZE
IMAGE = ('{"driver": "qcow2", "node-name": "disk", "file": '
         '{"driver": "file", "filename": "%s"}}')
PATIENCE = 30              # seconds; what takes longer is infinite
LIMIT_MS = 50              # that eight bitmaps may add


class Machine:
    def __init__(self, prog, folder, name, node, stream, incoming=False):
        path = os.path.join(folder, name)
        args = [prog, '-machine', 'none', '-nodefaults', '-display', 'none',
                '-qmp', f'unix:{path},server=on,wait=off', '-blockdev', node]
        # With -S, as QEMU may send RESUME before it greets.
        self.process = subprocess.Popen(
            args + (['-incoming', 'defer'] if incoming else ['-S']),
            stdout=subprocess.DEVNULL)
        while not os.path.exists(path):
            time.sleep(0.01)
        self.client = qmp.QmpClient(path, timeout=PATIENCE)
        self.client.negotiate()
        self.cmd('migrate-set-capabilities', capabilities=[
            {'capability': 'events', 'state': True},
            {'capability': 'dirty-bitmaps', 'state': stream}])
        self.cmd('migrate-set-parameters', **{
            'max-bandwidth': 8 << 30, 'downtime-limit': 2000})

    def cmd(self, command, **args):
        return self.client.command(command, args or None)

    def end(self):
        self.process.kill()
        self.process.wait()


def moment(event):
    stamp = event['timestamp']
    return stamp['seconds'] + stamp['microseconds'] / 1e6


def make_disk(folder, stored):
    """The node of a new disk in an empty folder."""
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    if not stored:
        return NULL
    path = os.path.join(folder, 'disk.qcow2')
    subprocess.run(['/usr/bin/qemu-img', 'create', '-q', '-f', 'qcow2', path,
                    str(SIZE)], check=True)
    return IMAGE % path


def downtime(prog, folder, count, stored, stream):
    """Milliseconds."""
    node = make_disk(folder, stored)
    source = Machine(prog, folder, 'source', node, stream)
    dest = Machine(prog, folder, 'dest', node, stream, incoming=True)
    try:
        source.cmd('cont')
        for i in range(count):
            source.cmd('block-dirty-bitmap-add', node='disk', name=f'b{i}',
                       granularity=65536, persistent=stored)
        step, length = SIZE // RUNS, SIZE // RUNS // 100
        for i in range(RUNS): # also without bitmaps: metadata is written, too
            at, size = i * step // 65536 * 65536, length // 65536 * 65536
            source.cmd('human-monitor-command', **{
                'command-line': f'qemu-io disk "write -z {at} {size}"'})
        uri = 'unix:' + os.path.join(folder, 'incoming')
        dest.cmd('migrate-incoming', uri=uri)
        source.cmd('migrate', uri=uri)
        stop = source.client.wait_event('STOP')
        resume = dest.client.wait_event('RESUME')
        return (moment(resume) - moment(stop)) * 1000
    except qmp.QmpTimeout:
        return float('inf')
    finally:
        source.end()
        dest.end()


def measure(report, programs, title, folder, rounds, *how):
    """Our medians by number of bitmaps."""
    medians = {}
    for count in (0, 1, 8):
        times = {who: [] for who in programs}
        for i in range(rounds):
            for who, prog in programs.items():
                # What does not end is not tried again.
                if i == 0 or times[who][0] < float('inf'):
                    times[who].append(downtime(prog, folder, count, *how))
        medians[count] = statistics.median(times['ours'])
        report('migration', f'{title}, {count} bitmaps', times['ours'],
               times.get('peer'), 'ms')
    return medians


def bench(report, build, rounds):
    """Ours and the peer in turn; `report` is told of each figure."""
    programs = {'ours': os.path.join(build, 'qemu-system-qtest')}
    if os.path.exists(PEER):
        programs['peer'] = PEER
    shared_memory = '/dev/shm' if os.path.isdir('/dev/shm') else None
    with tempfile.TemporaryDirectory(dir=shared_memory) as folder:
        medians = measure(report, programs, 'downtime, stream', folder, rounds,
                          False, True)
        measure(report, programs, 'downtime, stored', folder, rounds, True,
                False)
        measure(report, programs, 'downtime, stored and stream', folder,
                rounds, True, True)
    print(f'eight bitmaps add {medians[8] - medians[0]:.1f} ms (limit '
          f'{LIMIT_MS} ms)')
