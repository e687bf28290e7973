# SPDX-License-Identifier: GPL-2.0-or-later
#
# A machine without processors, for tests that need devices.

import os
import socket

import iotests
from iotests import QemuStorageDaemon, scratch

QEMU_PROG = os.environ.get('QEMU_PROG') or \
    os.path.join(iotests.BUILD_DIR, 'qemu-system-qtest')


class VM(QemuStorageDaemon):
    """A machine with one QMP monitor, running while in `with`.

        vm = VM().add_drive(path, 'drive0').add_device('virtio-scsi', id='s')
        with vm: ...
    """

    def __init__(self, *args, stopped=False):
        super().__init__(qmp=False, prog=QEMU_PROG)
        self.command += ['-display', 'none', '-nodefaults',
                         '-machine', 'q35', '-accel', 'qtest']
        self.command += ['-chardev', f'socket,id=qmp0,path={self.socket},'
                         'server=on,wait=off', '-mon',
                         'chardev=qmp0,mode=control']
        self.qtest_path = scratch(f'qtest-{self.number}.sock')
        self.command += ['-qtest', f'unix:{self.qtest_path},server=on,'
                         'wait=off']
        self.command += ['-S'] if stopped else []
        self.command += args
        self.with_qmp = True
        self.lines = None

    # The command line

    def add_args(self, *args):
        self.command += args
        return self

    def add_drive(self, path, name, fmt='qcow2', interface='none', **more):
        words = [f'if={interface}', f'id={name}']
        if path:
            words += [f'file={path}', f'format={fmt}']
        words += [f"{k.replace('_', '-')}={v}" for k, v in more.items()]
        return self.add_args('-drive', ','.join(words))

    def add_blockdev(self, text):
        return self.add_args('-blockdev', text)

    def add_device(self, driver, **props):
        words = [driver] + [f"{k.replace('_', '-')}={v}"
                            for k, v in props.items()]
        return self.add_args('-device', ','.join(words))

    # While it runs

    def hmp(self, line):
        return self.cmd('human-monitor-command', command_line=line)

    def hmp_qemu_io(self, device, line, qdev=False):
        return self.hmp(f'qemu-io {"-d " if qdev else ""}{device} "{line}"')

    def devices(self):
        """What query-block says, by the device's name or the drive's."""
        return {d.get('qdev') or d['device']: d
                for d in self.cmd('query-block')}

    def status(self):
        return self.cmd('query-status')['status']

    def qtest_send(self, line):
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
