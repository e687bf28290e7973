# SPDX-License-Identifier: GPL-2.0-or-later
#
# A machine for tests that need devices: ours, without processors, or the
# peer's, whose processor is halted by a minimal firmware.

import os
import socket
import time

import iotests
import support
from environment import (QEMU_PROG, SOCK_DIR, TESTING_PEER, aiomode,
                         cachemode, imgfmt, skip)
from iotests import QemuStorageDaemon, log, scratch

ACCEL = 'tcg' if TESTING_PEER else 'qtest'


class VM(QemuStorageDaemon):
    """A machine with one QMP monitor, running while in `with`.

        vm = VM().add_drive(path, 'drive0').add_device('virtio-scsi', id='s')
        with vm: ...

    Or launch(), and shutdown() or kill(). `stopped`: it is not started.
    """

    def __init__(self, *args, stopped=False, machine='q35', name=None):
        super().__init__(qmp=False, prog=QEMU_PROG)
        self.command += ['-display', 'none', '-nodefaults',
                         '-machine', machine, '-accel', ACCEL]
        self.machine = machine
        self.command += ['-chardev', f'socket,id=qmp0,path={self.socket},'
                         'server=on,wait=off', '-mon',
                         'chardev=qmp0,mode=control']
        self.qtest_path = os.path.join(SOCK_DIR, f'qtest-{self.number}.sock')
        if TESTING_PEER:
            self.command += ['-m', '16', '-bios', idle_firmware()]
        else:
            self.command += ['-qtest', f'unix:{self.qtest_path},server=on,'
                             'wait=off']
        self.command += ['-name', name] if name else []
        self.command += ['-S'] if stopped else []
        self.command += args
        self.with_qmp = True
        self.lines = None
        self.drives = 0

    # The command line

    def add_args(self, *args):
        self.command += args
        return self

    def add_drive(self, path, name=None, fmt=None, interface='none', opts='',
                  **more):
        """-drive, opened with the runner's cache mode and AIO.

        `opts` is text, `more` has underscores for hyphens; both go first.
        Without a name it is drive0, drive1, ...; without a path, empty.
        """
        name = name or f'drive{self.drives}'
        self.drives += 1
        words = [f'if={interface}', f'id={name}']
        if path:
            words += [f'file={path}', f'format={fmt or imgfmt}']
            if cachemode != 'writeback' and 'cache' not in f'{opts}{more}':
                words += [f'cache={cachemode}']
            if aiomode != 'threads' and 'aio' not in f'{opts}{more}':
                words += [f'aio={aiomode}']
        words += [opts] if opts else []
        words += [f"{k.replace('_', '-')}={v}" for k, v in more.items()]
        return self.add_args('-drive', ','.join(words))

    def add_drive_raw(self, text):
        """-drive with just these words."""
        return self.add_args('-drive', text)

    def add_blockdev(self, what):
        """-blockdev: text, JSON, or an object to be written as JSON."""
        if not isinstance(what, str):
            what = iotests.json.dumps(what)
        return self.add_args('-blockdev', what)

    def add_object(self, what, **props):
        return self._add_words('-object', what, props)

    def add_device(self, driver, **props):
        return self._add_words('-device', driver, props)

    def _add_words(self, option, first, props):
        words = [first] + [f"{k.replace('_', '-')}={v}"
                           for k, v in props.items()]
        return self.add_args(option, ','.join(words))

    def virtio_scsi(self):
        """The name of the virtio SCSI controller for this machine."""
        return self._virtio('virtio-scsi')

    def virtio_blk(self):
        return self._virtio('virtio-blk')

    def _virtio(self, name):
        kinds = ('ccw', 'device') if 's390' in self.machine else \
            ('pci', 'device')
        for kind in kinds:
            if f'{name}-{kind}' in support.machine_devices():
                return f'{name}-{kind}'
        skip(f'the machine has no {name}')

    def add_virtio_scsi(self, name='scsi0', **props):
        """A virtio SCSI controller; its bus is NAME.0."""
        return self.add_device(self.virtio_scsi(), id=name, **props)

    def add_scsi_disk(self, drive, name, **props):
        """A SCSI disk; the first one brings the controller."""
        if not any('virtio-scsi' in word for word in self.command):
            self.add_virtio_scsi()
        return self.add_device('scsi-hd', drive=drive, id=name, **props)

    def add_incoming(self, address):
        return self.add_args('-incoming', address)

    # While it runs

    def _wait_until_ready(self):
        """The peer writes its pid file before its monitor listens."""
        super()._wait_until_ready()
        deadline = time.monotonic() + iotests.TIMEOUT
        while not os.path.exists(self.socket):
            iotests.check(self.process.poll() is None and
                          time.monotonic() < deadline,
                          'no monitor: ' + self.errors())
            time.sleep(0.005)

    def launch(self):
        return self.start()

    def shutdown(self, expected=0):
        """Ask it to quit (unless it is gone) and check its exit status."""
        if self.process.poll() is None:
            try:
                self.client.command('quit')
            except iotests.QmpClosed:
                pass
        self.wait(expected)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def hmp(self, line):
        """What the human monitor answers, in plain lines."""
        answer = self.cmd('human-monitor-command', command_line=line)
        return answer.replace('\r\n', '\n')

    def hmp_qemu_io(self, device, line, qdev=False, use_log=False):
        """A qemu-io command on a device, a node, or (qdev) a QOM path."""
        line = f'qemu-io {"-d " if qdev else ""}{device} "{line}"'
        answer = self.hmp(line)
        if use_log:
            log(line)
            log(answer.rstrip('\n'))
        return answer

    def printed_by(self, function, *args, **kwargs):
        """What the machine prints meanwhile: qemu-io's output goes there."""
        before = len(self.errors())
        function(*args, **kwargs)
        return self.errors()[before:]

    def pause_drive(self, drive, event=None, qdev=False):
        """Suspend the drive's next request at a point that blkdebug knows
        (default: wherever it reads or writes next); blkdebug is below."""
        for one in (event,) if event else ('read_aio', 'write_aio'):
            self.hmp_qemu_io(drive, f'break {one} paused_{one}', qdev)

    def wait_paused(self, drive, event, qdev=False):
        self.hmp_qemu_io(drive, f'wait_break paused_{event}', qdev)

    def resume_drive(self, drive, event=None, qdev=False):
        for one in (event,) if event else ('read_aio', 'write_aio'):
            self.hmp_qemu_io(drive, f'remove_break paused_{one}', qdev)

    def devices(self):
        """What query-block says, by the device's name or the drive's."""
        return {d.get('qdev') or d['device']: d
                for d in self.cmd('query-block')}

    def status(self):
        return self.cmd('query-status')['status']

    def qtest_send(self, line):
        if TESTING_PEER:
            skip("the peer's machine has no blk_read and blk_write")
        if not self.lines:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(iotests.TIMEOUT)
            sock.connect(self.qtest_path)
            self.lines = sock.makefile('rw', newline='\n')
            sock.close()
        self.lines.write(line + '\n')
        self.lines.flush()

    def qtest_answer(self):
        return self.lines.readline().strip()

    def qtest(self, line):
        self.qtest_send(line)
        return self.qtest_answer()


def idle_firmware():
    """A firmware of one `hlt`: the machine runs, and nobody uses its disks."""
    path = scratch('idle.bin')
    if not os.path.exists(path):
        image = bytearray(65536)
        image[0xfff0:0xfff4] = b'\xfa\xf4\xeb\xfd'    # cli; 1: hlt; jmp 1b
        with open(path, 'wb') as file:
            file.write(image)
    return path
