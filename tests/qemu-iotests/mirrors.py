# SPDX-License-Identifier: GPL-2.0-or-later
#
# Mirror jobs, step by step: what the tests in mirror/ share.

import iotests
from environment import IOTHREAD
from iotests import (KIB, MIB, QmpError, check_equal, plain_error,
                     qemu_img_create, qemu_io, scratch)

SIZE = 4 * MIB
CLUSTER = 64 * KIB

MODES = ('background', 'write-blocking')
OVER = ('BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED')


def to_other_thread(qsd, *nodes):
    """With check --iothread: these nodes are in a thread of their own."""
    if not IOTHREAD:
        return
    try:
        qsd.cmd('object-add', qom_type='iothread', id='other')
    except QmpError:
        pass                            # it is there
    for node in nodes:
        qsd.cmd('x-blockdev-set-iothread', node_name=node, iothread='other')


class Mirror:
    """One job, which the test takes from state to state."""

    def __init__(self, qsd, job='job0'):
        self.qsd = qsd
        self.job = job

    def start(self, args=None, command='blockdev-mirror', **more):
        self.qsd.cmd(command, {'job-id': self.job, **(args or {})}, **more)
        return self

    def wait(self, status):
        self.qsd.event('JOB_STATUS_CHANGE',
                       {'id': self.job, 'status': status})
        return self

    def ready(self):
        """Wait until it is."""
        self.wait('ready')
        self.qsd.event('BLOCK_JOB_READY', {'device': self.job})
        return self

    def stopped(self, status='paused'):
        """Wait for an error that stops the job; return its event's data."""
        event = self.qsd.event('BLOCK_JOB_ERROR', {'device': self.job})
        check_equal(event['data']['action'], 'stop', 'action')
        self.wait(status)
        return event['data']

    def resume(self):
        self.qsd.cmd('job-resume', id=self.job)
        return self

    def complete(self):
        self.qsd.cmd('job-complete', id=self.job)
        return self

    def cancel(self):
        """A job that is ready succeeds, and its source stays in use."""
        self.qsd.cmd('block-job-cancel', device=self.job)
        return self

    def stop(self):
        """Cancel it in any state: it does not succeed."""
        self.qsd.cmd('job-cancel', id=self.job)
        return self

    def pending(self):
        """Wait until it is."""
        return self.wait('pending')

    def finalize(self):
        self.qsd.cmd('job-finalize', id=self.job)
        return self

    def set_speed(self, speed):
        self.qsd.cmd('block-job-set-speed', device=self.job, speed=speed)
        return self

    def info(self):
        """What query-block-jobs says of it."""
        return next(j for j in self.qsd.cmd('query-block-jobs')
                    if j['device'] == self.job)

    def end(self):
        """Wait for the end; return the error, 'cancelled', or None."""
        client = self.qsd.client
        event = client.wait_events([(name, {'device': self.job})
                                    for name in OVER])
        self.wait('null')
        if event['event'] == 'BLOCK_JOB_CANCELLED':
            return 'cancelled'
        return plain_error(event['data'].get('error'))

    def pivot(self):
        """Wait for READY, complete, and see it to its end without error."""
        check_equal(self.ready().complete().end(), None, 'the mirror')

    def try_change(self, copy_mode):
        """block-job-change; the error's text, or None."""
        try:
            self.qsd.cmd('block-job-change', id=self.job, type='mirror',
                         copy_mode=copy_mode)
        except QmpError as e:
            return e.desc
        return None


class Pair:
    """A disk over a base, with a guest, and an empty target."""

    def __init__(self, qsd, fmt='qcow2', size=SIZE, target_size=SIZE,
                 **options):
        self.qsd = qsd
        self.base, self.disk = scratch('base.qcow2'), scratch('disk.qcow2')
        self.target = scratch('target.img')
        self.fmt = fmt
        qemu_img_create('qcow2', self.base, size)
        qemu_io(self.base, 'write -P 1 0 300k', 'write -P 2 2M 64k')
        qemu_img_create('qcow2', self.disk, backing=self.base)
        qemu_img_create(fmt, self.target, target_size, **options)
        model = iotests.DiskModel(size)
        model.write(0, b'\x01' * (300 * KIB))
        model.write(2 * MIB, b'\x02' * CLUSTER)
        qsd.add_file_node('base', self.base, read_only=True)
        qsd.add_file_node('disk', self.disk, backing='base')
        self.guest = iotests.GuestDisk(qsd, 'disk', size, model)
        self.guest.write(100 * KIB, 30 * KIB)
        self.guest.write(MIB, 200 * KIB)
        self.guest.zero(2 * MIB + 8 * KIB, 16 * KIB)

    def add_target(self, **options):
        self.qsd.add_file_node('target', self.target, fmt=self.fmt,
                               **options)
        to_other_thread(self.qsd, 'target')
        return self

    def mirror(self, **args):
        return Mirror(self.qsd).start({'device': 'disk', 'target': 'target',
                                       'sync': 'full', **args})

    def finish(self, job, what):
        """Writes, the pivot, writes; and the target is the disk."""
        job.ready()
        self.guest.write(3 * MIB + 512, 5 * KIB)
        check_equal(job.complete().end(), None, what)
        self.guest.write(3 * MIB, 512)
        self.guest.check_content(what)
        self.guest.nbd.disconnect()

    def finish_from_ready(self, job):
        self.guest.write(3 * MIB, 512)
        check_equal(job.complete().end(), None, 'the job')
        self.guest.check_content('the disk')
        self.guest.nbd.disconnect()

    def check_target(self, what):
        iotests.check_content(self.target, self.guest.model.snapshot(), what,
                              fmt=self.fmt)
        iotests.check_image(self.target, fmt=self.fmt)
