# SPDX-License-Identifier: GPL-2.0-or-later
#
# What backups must be like with any daemon: cases that the tests run with ours,
# and with those of an installed QEMU.

import os
import signal

from iotests import MIB, check, check_equal, log
from tidemarktest import Scene, end, listing, partial, refusal, start, tidemark


def levels(prog=None):
    """Each level, with what it is based on, and what it copies."""
    with Scene(prog) as scene:
        guest = scene.guests['disk0']
        guest.write(0, 8 * MIB)
        first = scene.backup()
        guest.write(MIB, 200000)
        second = scene.backup()
        guest.write(4 * MIB, 65536)
        third = scene.backup('--level', 'differential')
        guest.zero(0, 65536)
        fourth = scene.backup('-l', 'differential')
        fifth = scene.backup('-l', 'incremental')
        sixth = scene.backup()
        seventh = scene.backup('-l', 'full', '-c')     # never a raw file
        made = [m['disks'][0] for m in (first, second, third, fourth, fifth,
                                        sixth, seventh)]
        for i, disk in enumerate(made, 1):
            parent = disk.get('parent', '00000')[:5]
            log(f"{i}: {disk['level']}, based on {int(parent)}, copied "
                f"{disk['copied']}")
        check('no bitmap of this folder' in made[0]['reason'], made[0])
        check(first['id'] in made[1]['reason'], made[1])
        scene.check_backups()
        check_equal(len(listing(scene.folder)), 7, 'backups')


def point_in_time(prog=None):
    """What is written while a backup runs is not in it, but in the next."""
    with Scene(prog) as scene:
        guest = scene.guests['disk0']
        guest.write(0, 8 * MIB)
        then = scene.snapshot()
        process = start(*scene.words('--speed', '1M'))
        scene.wait_for_job()
        guest.write(6 * MIB, MIB)
        guest.write(12 * MIB, MIB)
        scene.qsd.cmd('block-job-set-speed', device=next(iter(
            scene.qsd.jobs())), speed=0)
        end(process, 0)
        scene.expected[listing(scene.folder)[0]] = then
        scene.check_server(1)
        made = scene.backup()
        check_equal(made['disks'][0]['copied'], 2 * MIB, 'copied')
        scene.check_backups()
    log('what is written during a backup is in the next one')


def several_disks(prog=None):
    """A disk without a usable bitmap gets a full backup in the same moment."""
    with Scene(prog, disks=3) as scene:
        for i, guest in enumerate(scene.guests.values()):
            guest.write(i * MIB, 3 * MIB)
        scene.backup()
        for guest in scene.guests.values():
            guest.write(9 * MIB, 65536)
        bitmap = scene.qsd.nodes()['disk1']['dirty-bitmaps'][0]['name']
        scene.qsd.cmd('block-dirty-bitmap-disable', node='disk1', name=bitmap)
        made = scene.backup()
        for disk in sorted(made['disks'], key=lambda d: d['name']):
            log(f"{disk['name']}: {disk['level']}, {disk['copied']}")
        two = scene.backup('-n', 'disk0', '-n', 'disk2')
        check_equal(len(two['disks']), 2, 'disks')
        log(refusal(*scene.words('-n', 'disk0', '-n', 'nodisk')))
        scene.check_backups()
    again(scene)


def again(scene):
    """Bitmaps are kept when the daemon ends."""
    scene.qsd.start()
    scene.connect_guests()
    scene.guests['disk1'].write(0, 65536)
    made = scene.backup('-n', 'disk1')
    check_equal(made['disks'][0]['level'], 'incremental', 'the level')
    check_equal(made['disks'][0]['copied'], 65536, 'copied')
    scene.qsd.quit()
    log('bitmaps are kept when the daemon ends')


def interrupted(prog=None):
    """SIGINT leaves what the next run continues, whatever the level is."""
    with Scene(prog) as scene:
        scene.guests['disk0'].write(0, 12 * MIB)
        for _ in range(2):
            interrupt(scene)
            scene.guests['disk0'].write(3 * MIB, 5 * MIB)
        made = scene.backup()
        check_equal(made['disks'][0]['level'], 'full', 'the level')
        scene.guests['disk0'].write(1 * MIB, 8 * MIB)
        interrupt(scene)
        scene.guests['disk0'].write(14 * MIB, MIB)
        made = scene.backup()
        check_equal(made['disks'][0]['copied'], 9 * MIB, 'copied')
        scene.guests['disk0'].write(2 * MIB, 6 * MIB)
        interrupt(scene, '-l', 'differential')
        made = scene.backup('-l', 'differential')
        check_equal(made['disks'][0]['copied'], 6 * MIB, 'copied')
        made = scene.backup()
        check_equal(made['disks'][0]['copied'], 6 * MIB, 'copied')
        scene.check_backups()
    log('SIGINT leaves a backup that the next run continues')


def interrupt(scene, *words):
    before = listing(scene.folder) if os.path.exists(scene.folder) else []
    process = start(*scene.words('--speed', '1M', *words))
    while not scene.wait_for_job()['current-progress']:
        pass
    process.send_signal(signal.SIGINT)
    said = end(process, 3)
    check('the same command continues' in said, said)
    scene.check_server()
    check_equal(listing(scene.folder), before, 'whole backups')
    check_equal(len(partial(scene.folder)), 1, 'partial backups')


def refused(prog=None):
    """What cannot be done leaves nothing behind."""
    with Scene(prog) as scene:
        scene.guests['disk0'].write(0, MIB)
        for words in (('-l', 'incremental'), ('-l', 'differential')):
            log(refusal(*scene.words(*words)))
            scene.check_server(0)
            check_equal(partial(scene.folder), [], 'partial backups')
        scene.backup()
        busy(scene)


def busy(scene):
    """A bitmap that a job uses cannot be backed up by; nor be lost."""
    bitmap = scene.check_server(1)[0]
    scene.guests['disk0'].write(0, 4 * MIB)
    scene.qsd.cmd('blockdev-add', driver='null-co', node_name='t',
                  size=scene.size)
    scene.qsd.cmd('blockdev-backup', job_id='hold', device='disk0',
                  target='t', sync='bitmap', bitmap=bitmap,
                  bitmap_mode='never', speed=1)
    log(refusal(*scene.words('-l', 'incremental')).replace(bitmap, 'BITMAP'))
    scene.qsd.cmd('job-cancel', id='hold')
    scene.qsd.event('BLOCK_JOB_CANCELLED')
    scene.qsd.cmd('blockdev-del', node_name='t')
    check_equal(scene.check_server(1), [bitmap], 'bitmaps')


def crashed(prog=None):
    """After kill -9 of the server bitmaps are as they were, or cannot be used,
    and the backup says so."""
    with Scene(prog) as scene:
        scene.guests['disk0'].write(0, 4 * MIB)
        scene.backup()
        scene.restart()         # a peer stores the bitmap no earlier than that
        scene.guests['disk0'].write(2 * MIB, MIB)
        scene.guests['disk0'].nbd.flush()
        scene.restart(kill=True)
        made = scene.backup()['disks'][0]
        log(f"{made['level']}: " + ('its bitmap is inconsistent'
                                    if 'inconsistent' in made['reason'] else
                                    'its bitmap has survived'))
        scene.check_backups()


def filtered(prog=None):
    """A disk below a throttle filter: its own bitmaps are used and kept."""
    with Scene(prog) as scene:
        scene.qsd.cmd('object-add', qom_type='throttle-group', id='g')
        scene.qsd.cmd('blockdev-add', driver='throttle', node_name='slow',
                      throttle_group='g', file='disk0')
        scene.guests['disk0'].nbd.disconnect()
        scene.qsd.cmd('block-export-del', id='export-disk0', mode='hard')
        scene.qsd.event('BLOCK_EXPORT_DELETED')
        scene.guests['disk0'].nbd = scene.qsd.export('slow')
        scene.guests['disk0'].write(0, MIB)
        made = scene.backup()['disks'][0]
        check_equal((made['node'], made['persistent']), ('disk0', True), made)
    log('a filter is looked through')


CASES = (levels, point_in_time, several_disks, interrupted, refused, crashed,
         filtered)


def images(daemon=None):
    """Images that nobody has open: it starts a daemon for them."""
    with Scene(None, disks=2) as scene:
        for guest in scene.guests.values():
            guest.write(0, MIB)
    words = ['backup', '--to', scene.folder, *scene.paths.values()]
    words += ['--daemon', daemon] if daemon else []
    then = scene.snapshot()
    for status in ('full', 'incremental'):
        text = tidemark(*words)
        check_equal(text.count(f', {status}: '), 2, text)
    for name in listing(scene.folder):
        scene.expected[name] = then
    scene.check_backups()
    log('images that nobody has open')
