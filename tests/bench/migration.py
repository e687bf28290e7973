#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a machine is stopped when it migrates: with 0, 1 and 8 bitmaps of 64
KiB on a disk of 16 TiB that is 1 % dirty, ours and the installed QEMU's.

usage: migration.py [BUILD-FOLDER [ROUNDS]]

The time from the event STOP at the source to RESUME at the destination, by the
clock of the events; the median of the rounds (one of QEMU's).
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
NODE = '{"driver": "null-co", "node-name": "disk", "size": %d}' % SIZE
PATIENCE = 60              # seconds; what takes longer is infinite
LIMIT_MS = 50              # that eight bitmaps may add


class Machine:
    def __init__(self, prog, folder, name, incoming=False):
        path = os.path.join(folder, name)
        args = [prog, '-machine', 'none', '-nodefaults', '-display', 'none',
                '-qmp', f'unix:{path},server=on,wait=off', '-blockdev', NODE]
        self.process = subprocess.Popen(
            args + (['-incoming', 'defer'] if incoming else []),
            stdout=subprocess.DEVNULL)
        while not os.path.exists(path):
            time.sleep(0.01)
        self.client = qmp.QmpClient(path, timeout=PATIENCE)
        self.client.negotiate()
        self.cmd('migrate-set-capabilities', capabilities=[
            {'capability': c, 'state': True}
            for c in ('events', 'dirty-bitmaps')])
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


def downtime(prog, folder, count):
    """Milliseconds."""
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    source = Machine(prog, folder, 'source')
    dest = Machine(prog, folder, 'dest', incoming=True)
    try:
        for i in range(count):
            source.cmd('block-dirty-bitmap-add', node='disk', name=f'b{i}',
                       granularity=65536)
        step, length = SIZE // RUNS, SIZE // RUNS // 100
        for i in range(RUNS if count else 0):
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


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else 'build'
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    programs = {'ours': os.path.join(build, 'qemu-system-qtest')}
    if os.path.exists(PEER):
        programs['peer'] = PEER
    medians = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (0, 1, 8):
            for who, prog in programs.items():
                times = [downtime(prog, folder, count)
                         for _ in range(rounds if who == 'ours' else 1)]
                medians[who, count] = statistics.median(times)
            words = [f'{who} {medians[who, count]:8.1f} ms'
                     for who in programs]
            if 'peer' in programs:
                ratio = medians['ours', count] / medians['peer', count]
                words.append(f'ratio {ratio:.2f}')
            print(f'downtime, {count} bitmaps:', ', '.join(words), flush=True)
    added = medians['ours', 8] - medians['ours', 0]
    print(f'eight bitmaps add {added:.1f} ms (limit {LIMIT_MS} ms)')
    return added > LIMIT_MS


if __name__ == '__main__':
    sys.exit(main())
