# SPDX-License-Identifier: GPL-2.0-or-later
"""What each image format with a driver that writes has to do."""
import os
import random
import resource
import struct

import iotests
from iotests import (KIB, MIB, QemuStorageDaemon, check, check_equal, log,
                     scratch)
from nbdclient import NbdError

SIZE = 8 * MIB


def create(qsd, fmt, path, size=SIZE, **options):
    """Make a file and format it by blockdev-create; remove the node again."""
    for job, what in (('make', {'driver': 'file', 'filename': path,
                                'size': 0}),
                      ('format', {'driver': fmt, 'file': 'f0',
                                  'size': size, **hyphens(options)})):
        if job == 'format':
            qsd.cmd('blockdev-add', driver='file', filename=path,
                    node_name='f0')
        qsd.cmd('blockdev-create', job_id=job, options=what)
        qsd.event('JOB_STATUS_CHANGE', {'status': 'concluded'})
        jobs = qsd.cmd('query-jobs')
        qsd.cmd('job-dismiss', id=job)
        check('error' not in jobs[0], jobs)
    qsd.cmd('blockdev-del', node_name='f0')


def hyphens(options):
    return {k.replace('_', '-'): v for k, v in options.items()}


def fill(nbd, data, seed):
    """Writes across blocks and at both ends, zeroes, a discard."""
    for number, (at, length) in enumerate((
            (0, 100), (512 * KIB - 700, 1400), (MIB - 5, 3 * MIB),
            (5 * MIB + 100, 64 * KIB), (SIZE - 512, 512))):
        content = bytes([seed + number]) * length
        nbd.write(at, content)
        data[at:at + length] = content
    for at, length in ((2 * MIB, 300 * KIB), (3 * MIB + 50, 10),
                       (6 * MIB, MIB)):
        nbd.write_zeroes(at, length)
        data[at:at + length] = bytes(length)


def lives(fmt, check_status=0, **options):
    """An image from its creation by QMP to a kill -9 and a backup into it."""
    path, raw = scratch(f'disk.{fmt}'), scratch('source.raw')
    data = bytearray(SIZE)
    with QemuStorageDaemon() as qsd:
        create(qsd, fmt, path, **options)
        qsd.add_file_node('disk', path, fmt)
        nbd = qsd.export('disk')
        fill(nbd, data, 1)
        check_equal(nbd.read(0, SIZE), bytes(data), 'read back')
        nbd.disconnect()
    verify(fmt, path, data, 'written', check_status)
    crash(fmt, path, data, check_status)
    read_only(fmt, path, data)
    with open(raw, 'wb') as file:
        file.write(data)
    backup(fmt, raw, data, options, check_status)
    os.unlink(path)
    log(f'{fmt} {options or ""}: created, written, killed, copied'
        .replace(' :', ':'))


def verify(fmt, path, data, what, check_status):
    check(iotests.same_as(path, data, fmt), f'{what}: the content differs')
    status, text = iotests.qemu_img_status('check', '-f', fmt, path)
    check_equal(status, check_status, f'{what}: check: {text}')


def crash(fmt, path, data, check_status):
    """What was flushed is there, and the image is in order."""
    qsd = QemuStorageDaemon().start()
    qsd.add_file_node('disk', path, fmt)
    nbd = qsd.export('disk')
    fill(nbd, data, 0x40)
    nbd.flush()
    nbd.write(7 * MIB + 1000, bytes(10))    # zeroes, as they were
    qsd.kill()
    verify(fmt, path, data, 'killed', check_status)


def read_only(fmt, path, data):
    with QemuStorageDaemon() as qsd:
        qsd.add_file_node('disk', path, fmt, read_only=True)
        nbd = qsd.export('disk', writable=False)
        check_equal(nbd.read(MIB, MIB), bytes(data[MIB:2 * MIB]), 'read-only')
        nbd.disconnect()
    with open(path, 'rb') as file:
        before = file.read()
    iotests.qemu_io(path, 'read -q 0 512', fmt=fmt)
    with open(path, 'rb') as file:
        check(before == file.read(), 'opened for writing, but not written')


def backup(fmt, raw, data, options, check_status):
    path = scratch(f'copy.{fmt}')
    with QemuStorageDaemon() as qsd:
        create(qsd, fmt, path, **options)
        qsd.add_file_node('src', raw, 'raw')
        qsd.add_file_node('dst', path, fmt)
        qsd.cmd('blockdev-backup', job_id='b0', device='src', target='dst',
                sync='full')
        qsd.run_job('b0')
    verify(fmt, path, data, 'backup', check_status)
    os.unlink(path)


def many_blocks(fmt, seed, check_status=0, base=None, **options):
    """
    Requests on many blocks, of which some have a place and some do not.  @base:
    of the same format; it becomes the backing file.
    """
    path, raw = scratch(f'many.{fmt}'), scratch('many.raw')
    rng, data = random.Random(seed), bytearray(SIZE)
    with QemuStorageDaemon() as qsd:
        if base:
            data[:] = b'\xee' * SIZE
            iotests.qemu_img_create(fmt, path, backing=base, backing_fmt=fmt)
        else:
            create(qsd, fmt, path, **options)
        qsd.add_file_node('disk', path, fmt)
        nbd = qsd.export('disk')
        for number in range(1, 41):
            at = rng.randrange(0, SIZE, 512)
            length = min(rng.choice((512, 100 * KIB, 3 * MIB)), SIZE - at)
            content = bytes([number]) * length
            nbd.write(at, content)
            data[at:at + length] = content
            at = rng.randrange(0, SIZE - MIB)
            check_equal(nbd.read(at, MIB), bytes(data[at:at + MIB]), number)
        nbd.disconnect()
    verify(fmt, path, data, 'many blocks', check_status)
    iotests.qemu_img('convert', '-f', fmt, '-O', 'raw', path, raw)
    with open(raw, 'rb') as file:
        check(file.read() == data, 'copied: the content differs')
    os.unlink(path)


def failing_blocks(fmt):
    """New blocks that cannot be written are not there, and can be later."""
    path = scratch(f'failing.{fmt}')
    data = bytearray(SIZE)
    with QemuStorageDaemon() as qsd:
        create(qsd, fmt, path)
        iotests.qemu_io(path, 'write -q -P 1 1M 1M', fmt=fmt)
        data[MIB:2 * MIB] = b'\1' * MIB
        beyond = os.path.getsize(path) + MIB
        qsd.add_file_node('disk', path, fmt, file={
            'driver': 'blkdebug', 'image': {'driver': 'file',
                                            'filename': path},
            'inject-error': [{'event': 'none', 'iotype': 'write',
                              'sector': beyond // 512, 'once': True,
                              'errno': 28}]})
        nbd = qsd.export('disk')
        for _ in range(2):
            try:
                nbd.write(2 * MIB, b'\2' * 6 * MIB)
                data[2 * MIB:] = b'\2' * 6 * MIB
            except NbdError as error:
                log(f'{fmt}: {error}')
            check_equal(nbd.read(0, SIZE), bytes(data), 'read back')
        nbd.disconnect()
    verify(fmt, path, data, 'failing blocks', 0)


def no_room(fmt, **options):
    """
    A write of new blocks ends where the file may not grow further.  What it has
    left there is not shown by a block that is written later.
    """
    path = scratch(f'no-room.{fmt}')
    data = bytearray(SIZE)
    # Without the signal, writes fail.
    with QemuStorageDaemon('--ignore-signal=XFSZ', iotests.QSD_PROG,
                           prog='env') as qsd:
        create(qsd, fmt, path, **options)
        qsd.add_file_node('disk', path, fmt)
        nbd = qsd.export('disk')
        nbd.write(0, b'\1' * 512)
        nbd.flush()
        data[:512] = b'\1' * 512
        room = os.path.getsize(path) + MIB + 100 * KIB
        everything = resource.prlimit(qsd.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(qsd.process.pid, resource.RLIMIT_FSIZE,
                         (room, everything[1]))
        try:
            nbd.write(2 * MIB, b'\2' * 3 * MIB)
            check(False, 'there was room')
        except NbdError as error:
            log(f'{fmt}: {error}')
        resource.prlimit(qsd.process.pid, resource.RLIMIT_FSIZE, everything)
        for at in (6 * MIB, 7 * MIB):
            nbd.write(at, b'\3' * 512)
            data[at:at + 512] = b'\3' * 512
        # What has become of the write that failed is open.
        data[2 * MIB:5 * MIB] = nbd.read(2 * MIB, 3 * MIB)
        check_equal(set(data[2 * MIB:5 * MIB]) - {0, 2}, set(), 'the write')
        nbd.disconnect()
    check(iotests.same_as(path, data, fmt), 'old data is shown')


def hostile(fmt, good, fields):
    """Images with changed fields: refused by the word, or used unharmed.

    Rows: title, offset, format of struct, value, a word of the error or None.
    """
    with open(good, 'rb') as file:
        image = file.read()
    path = scratch(f'bad.{fmt}')
    for title, at, pack, value, word in fields:
        bad = bytearray(image)
        if at < 0:
            at += len(image)
        new = value if pack is None else struct.pack(pack, value)
        bad[at:at + len(new)] = new
        with open(path, 'wb') as file:
            file.write(bad)
        status, text = iotests.qemu_img_status('info', '-f', fmt, path)
        if word is None:
            check_equal(status, 0, f'{title}: {text}')
            iotests.run_tool(iotests.QEMU_IO_PROG, '-f', fmt, '-c',
                             'read 0 8M', '-c', 'write 0 8M', path)
            log(f'{title}: used')
        else:
            check(status == 1 and word in text, f'{title}: {status}, {text}')
            log(f'{title}: {text.strip().split(": ", 2)[-1]}')
    for length in (0, 1, 511, 512, 513, 1024, 1536, 2048, 65536):
        with open(path, 'wb') as file:
            file.write(image[:length])
        iotests.qemu_img_status('info', '-f', fmt, path)
        iotests.run_tool(iotests.QEMU_IO_PROG, '-f', fmt, '-c', 'read 0 64k',
                         path)


def options(fmt, *words):
    """What `qemu-img create -o` says of options and sizes."""
    path = scratch(f'options.{fmt}')
    for word, size in words:
        args = ['-o', word] * bool(word)
        status, text = iotests.qemu_img_status('create', '-f', fmt, *args,
                                               path, size)
        log(f'{word} {size}: {status}, {text.strip()}'.lstrip())
        if status == 0:
            info = iotests.qemu_img_json('info', '-f', fmt, path)
            for key in ('actual-size', 'filename', 'format'):
                info.pop(key)
            log(info)
            os.unlink(path)


def refused_options(fmt, words):
    """What is refused, and leaves no file."""
    path = scratch(f'options.{fmt}')
    for word, size in words:
        status, text = iotests.qemu_img_status(
            'create', '-q', '-f', fmt, *['-o', word] * bool(word), path, size)
        check(status == 1 and not os.path.exists(path), f'{word}: {text}')
        log(f'{word} {size}: {text.strip()}'.lstrip())


def no_resize(fmt):
    path = iotests.new_image(f'resize.{fmt}', fmt=fmt)
    status, text = iotests.qemu_img_status('resize', '-f', fmt, path, '16M')
    check(status == 1, text)
    log(text.strip())
