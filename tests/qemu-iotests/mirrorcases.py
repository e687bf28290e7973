# SPDX-License-Identifier: GPL-2.0-or-later
#
# Mirrors that use a bitmap, in every way such a job can go.
#
# Each case starts from the same disk: an overlay over a base image, both with
# data. The bitmap is new, "anchor" holds the disk as it was then. Writes come
# before the job, while it is stopped or slow, when it is ready, when it is
# pending, and after. The bitmap must be what the model says; what a job that
# succeeded has made must be the disk; and one more job by the same bitmap must
# make the target of each job the same as the disk.

import shutil

import iotests
from iotests import KIB, MIB, check, check_equal, log, scratch
from mirrors import Mirror, to_other_thread

CLUSTER = 64 * KIB
HOLE = 21 * CLUSTER                 # nothing is there, or above it
TAIL = 28 * CLUSTER                 # the base has data again
LAST = 36 * CLUSTER
SIZE = LAST + 32 * KIB              # the last granule is half a granule
BASE_DATA = ((0, 512 * KIB), (TAIL, 256 * KIB))
TOP_DATA = ((256 * KIB, MIB), (TAIL + 128 * KIB, 256 * KIB),
            (LAST, 32 * KIB))

BEFORE = ((320 * KIB, 64 * KIB), (640 * KIB, 4 * KIB),
          (704 * KIB, 192 * KIB), (MIB, 128 * KIB),
          (HOLE, 512), (TAIL + 192 * KIB, 100 * KIB),
          (LAST + 8 * KIB, 512))
# Over what is copied first, what is still to copy, and what is clean; never
# over the clusters in which errors are injected.
DURING = ((320 * KIB, 4 * KIB), (TAIL + 256 * KIB, 64 * KIB),
          (1280 * KIB, 64 * KIB), (LAST, 32 * KIB))
READY = ((384 * KIB, 8 * KIB), (HOLE + 256 * KIB, 512),
         (TAIL + 512, 130 * KIB))
PENDING = ((HOLE + 192 * KIB, 4 * KIB), (960 * KIB, 512))
AFTER = ((256 * KIB, 512), (TAIL, 64 * KIB))
FIRST = 320 * KIB                   # the first cluster that any job copies
LATER = MIB                         # one that comes after some data

COMBINATIONS = (
    ('full', 'on-success'), ('full', 'always'),
    ('top', 'on-success'), ('top', 'always'),
    ('incremental', None),
    ('bitmap', 'on-success'), ('bitmap', 'never'), ('bitmap', 'always'),
)

# What happens. source, target: where an error is injected; flush: when the
# target is flushed, i.e. before the job is ready; armed: all writes to the
# target fail after that flush. stop: errors stop the job. during, ready,
# pending: the guest writes then. end: how the job is ended.
SCENARIOS = {
    'pivots, no writes': {'end': 'complete'},
    'pivots, guest writes': {'during': True, 'ready': True, 'pending': True,
                             'end': 'complete'},
    'cancelled when ready': {'during': True, 'ready': True, 'end': 'cancel'},
    'the same, guest writes pending': {'ready': True, 'pending': True,
                                       'end': 'cancel'},
    'fails on the source at once': {'source': FIRST},
    'fails on the source after data': {'source': LATER},
    'fails on the target at once': {'target': 0},
    'fails on the target after data': {'target': LATER},
    'fails to flush the target': {'flush': True},
    'fails when ready': {'armed': True, 'ready': True},
    'fails when pending': {'armed': True, 'pending': True, 'end': 'complete'},
    'fails after cancel when ready': {'armed': True, 'pending': True,
                                      'end': 'cancel'},
    'stops, guest writes, pivots': {'target': LATER, 'stop': True,
                                    'during': True, 'end': 'complete'},
    'stops, guest writes, cancelled': {'target': LATER, 'stop': True,
                                       'during': True, 'end': 'early'},
    'cancelled before ready': {'during': True, 'end': 'early'},
    'forced cancel when ready': {'ready': True, 'end': 'force'},
    'cancelled while pending': {'ready': True, 'pending': True,
                                'end': 'pending'},
}


class Template:
    """The images that each case starts with a copy of."""

    def __init__(self):
        self.base = scratch('base.qcow2')
        self.disk = scratch('template.qcow2')
        self.anchor = scratch('anchor.qcow2')
        self.data = bytearray(SIZE)
        iotests.qemu_img_create('qcow2', self.base, SIZE)
        self._fill(self.base, BASE_DATA, 0x10)
        iotests.qemu_img_create('qcow2', self.disk, backing=self.base)
        self._fill(self.disk, TOP_DATA, 0x40)
        iotests.qemu_img('convert', '-O', 'qcow2', self.disk, self.anchor)
        self.host_offsets = self._map()
        self.made = {}

    def copy_of_image(self, path, backing, cluster):
        """A new image at this path, over one of the template's."""
        key = backing, cluster
        if key not in self.made:
            self.made[key] = scratch(f'empty-{len(self.made)}.qcow2')
            iotests.qemu_img_create('qcow2', self.made[key], SIZE,
                                    backing=backing, cluster_size=cluster)
        shutil.copyfile(self.made[key], path)

    def _fill(self, path, ranges, pattern):
        commands = []
        for offset, length in ranges:
            for at in range(offset, offset + length, 32 * KIB):
                value = pattern + at // CLUSTER
                commands.append(f'write -P {value} {at} 32k')
                self.data[at:at + 32 * KIB] = bytes([value]) * 32 * KIB
        iotests.qemu_io(path, *commands)

    def _map(self):
        """Where the clusters of the top image are in its file."""
        found = {}
        for entry in iotests.qemu_img_json('map', self.disk):
            if entry['depth'] == 0 and 'offset' in entry:
                for at in range(0, entry['length'], CLUSTER):
                    found[entry['start'] + at] = entry['offset'] + at
        return found


def error_at(offset, iotype, once):
    return {'event': 'none', 'iotype': iotype, 'errno': 5,
            'sector': offset // 512, 'once': once, 'immediately': False}


class Case:
    def __init__(self, template, qsd, sync, mode, copy_mode, how,
                 granularity=CLUSTER, cluster=CLUSTER):
        self.template = template
        self.qsd = qsd
        self.sync = sync
        self.mode = mode or 'on-success'
        self.explicit = mode
        self.copy_mode = copy_mode
        self.how = how
        self.granularity = granularity
        self.cluster = cluster
        self.unit = min(granularity, MIB)       # in which the job copies
        self.target = scratch('target.qcow2')
        self.job = Mirror(qsd)
        self.pivots = how.get('end') == 'complete' and 'armed' not in how
        self.fails = not self.pivots and \
            (how.get('end') != 'cancel' or 'armed' in how)

    # Before the job

    def set_up(self):
        disk = scratch('disk.qcow2')
        shutil.copyfile(self.template.disk, disk)
        protocol = {'driver': 'file', 'filename': disk}
        if 'source' in self.how:
            offset = self.template.host_offsets[self.how['source']]
            protocol = {'driver': 'blkdebug', 'image': protocol,
                        'inject-error': [error_at(offset, 'read', True)]}
        self.qsd.cmd('blockdev-add', driver='qcow2', node_name='drive0',
                     file=protocol)
        model = iotests.DiskModel(SIZE)
        model.data[:] = self.template.data
        self.guest = iotests.GuestDisk(self.qsd, 'drive0', SIZE, model)
        self.bitmap = self.guest.add_bitmap('bitmap0', self.granularity)
        self.write(BEFORE)
        self.guest.check_bitmap('bitmap0', 'before the job')
        self.create_target()

    def write(self, ranges):
        for offset, length in ranges:
            self.guest.write(offset, length)

    def create_target(self):
        backing = {'full': None, 'top': self.template.base}.get(
            self.sync, self.template.anchor)
        self.template.copy_of_image(self.target, backing, self.cluster)
        image = {'driver': 'qcow2',
                 'file': {'driver': 'file', 'filename': self.target}}
        error = self.target_error()
        if error:
            # The events of a flush come from the node above.
            image = {'driver': 'raw', 'file': {
                'driver': 'blkdebug', 'image': image, 'inject-error': [error]}}
        self.qsd.cmd('blockdev-add', node_name='target', **image)
        to_other_thread(self.qsd, 'target')

    def target_error(self):
        if 'target' in self.how:
            return error_at(self.target_offset(), 'write',
                            self.how.get('end') == 'complete')
        if 'flush' in self.how:
            return {'event': 'none', 'iotype': 'flush', 'errno': 5}
        if 'armed' in self.how:
            return {'event': 'flush_to_disk', 'iotype': 'write', 'errno': 5}
        return None

    def target_offset(self):
        """Where writing fails: at once is where this job begins to copy."""
        first = {'full': 0, 'top': 256 * KIB}.get(self.sync, FIRST)
        first = first // self.unit * self.unit
        return self.how['target'] or first

    # The job

    def start(self):
        args = {'device': 'drive0', 'target': 'target', 'sync': self.sync,
                'bitmap': 'bitmap0', 'copy-mode': self.copy_mode,
                'buf-size': CLUSTER,            # one area at a time
                'auto-finalize': 'pending' not in self.how}
        if self.explicit:
            args['bitmap-mode'] = self.explicit
        if 'stop' in self.how:
            args['on-target-error'] = 'stop'
        elif 'during' in self.how:
            args['speed'] = CLUSTER
        self.job.start(args)

    def run(self):
        """Run the job; return the error it ended with."""
        self.before = self.bitmap.copy()
        self.bitmap.dirty = set()           # from now on: what is new
        self.start()
        if 'during' in self.how:
            self.until_ready()
        if self.how.get('end', 'early') != 'early' or 'armed' in self.how:
            self.when_ready()
        return self.job.end()

    def until_ready(self):
        if 'stop' in self.how:
            self.job.stopped()
        check(self.qsd.bitmaps('drive0')['bitmap0']['busy'],
              'the bitmap is not busy while the job runs')
        self.write(DURING)
        if self.how['end'] == 'early':
            self.job.stop()
        elif 'stop' in self.how:
            self.job.resume()
        else:
            self.job.set_speed(0)

    def when_ready(self):
        self.job.ready()
        check(self.qsd.bitmaps('drive0')['bitmap0']['busy'],
              'the bitmap is not busy when the job is ready')
        if 'ready' in self.how:
            self.write(READY)
        end = self.how.get('end')
        if end in ('complete', 'pending'):
            self.job.complete()
        elif end == 'cancel':
            self.job.cancel()
        elif end == 'force':
            self.job.stop()
        if 'pending' in self.how:
            self.when_pending()

    def when_pending(self):
        self.job.pending()
        self.write(PENDING)
        if self.how['end'] == 'pending':
            self.job.stop()
        else:
            self.job.finalize()

    # After it

    def check_bitmap(self):
        """True: it is exactly what is expected; else it is within bounds."""
        since = set(self.bitmap.dirty)
        if self.mode == 'never' or (self.fails and self.mode != 'always'):
            dirty = self.before.dirty | since
        elif not self.fails:
            dirty = set()
        else:
            dirty = self.still_differs()
            if dirty is None:
                self.check_bounds()
                return False
        self.bitmap.dirty = dirty
        self.guest.check_bitmap('bitmap0', 'after the job')
        return True

    def units(self, *ranges):
        found = iotests.BitmapModel(SIZE, self.unit)
        for offset, length in ranges:
            found.mark(offset, length)
        return found

    def in_granules(self, units):
        found = iotests.BitmapModel(SIZE, self.granularity)
        found.merge(units)
        return found.dirty

    def to_copy(self):
        """What the job copies at first."""
        copy = self.units()
        if self.sync == 'full':
            copy.mark(0, SIZE)
        elif self.sync == 'top':
            clusters = iotests.BitmapModel(SIZE, CLUSTER)
            for offset, length in TOP_DATA + BEFORE:
                clusters.mark(offset, length)
            copy.merge(clusters)
        else:
            copy.merge(self.before)
        return copy

    def still_differs(self):
        """What of the bitmap a failed job leaves dirty; None: it depends."""
        how = self.how
        if 'flush' in how:                  # nothing is known to be there
            return self.before.dirty | self.bitmap.dirty | \
                self.in_granules(self.to_copy())
        if 'source' in how or 'target' in how:
            return self.in_granules(self.left_at_error())
        if 'armed' in how:
            return self.in_granules(
                self.units(*(READY if 'ready' in how else PENDING)))
        if how['end'] == 'pending' or (how['end'] == 'force' and
                                       self.copy_mode == 'write-blocking'):
            return set()
        return None

    def left_at_error(self):
        at = self.how.get('source') or self.target_offset()
        chunk = max(CLUSTER, self.unit)
        left = self.to_copy()
        left.dirty = {u for u in left.dirty
                      if u * self.unit >= at // chunk * chunk + chunk}
        if 'target' in self.how or self.unit >= CLUSTER:
            left.mark(at, 1)                # others were tried once more
        if 'during' in self.how:
            for offset, length in DURING:
                left.mark(offset, length)
        return left

    def check_bounds(self):
        """Some of what was to be copied, or was written, and no more."""
        most = self.before.dirty | self.bitmap.dirty
        if self.sync in ('full', 'top'):
            most = most | self.in_granules(self.to_copy())
        if self.how['end'] == 'force':
            most = self.in_granules(self.units(*READY))
        count = self.qsd.bitmaps('drive0')['bitmap0']['count']
        check(count <= len(most) * self.granularity,
              f'{count} bytes are dirty, more than {len(most)} granules')

    def remove_target(self):
        if not self.pivots:
            self.qsd.cmd('blockdev-del', node_name='target')
        if self.mode == 'never' and not self.fails and not self.pivots:
            iotests.check_content(self.target, self.guest.model.snapshot(),
                                  'the target')

    def after_pivot(self):
        """The guest is at the target; its new writes are not of the bitmap."""
        content = self.guest.model.snapshot()
        dirty = set(self.bitmap.dirty)
        self.write(AFTER)
        self.bitmap.dirty = dirty
        self.guest.check_bitmap('bitmap0', 'after the pivot')
        self.guest.check_content('the disk, at the target')
        if self.mode == 'never':            # the old disk, over the anchor
            self.last_backup(self.fresh_overlay(), content)
        self.guest.nbd.disconnect()
        self.qsd.quit()
        iotests.check_content(scratch('disk.qcow2'), content, 'the source')

    def fresh_overlay(self):
        path = scratch('last.qcow2')
        self.template.copy_of_image(path, self.template.anchor, CLUSTER)
        return path

    def bring_up_to_date(self):
        """One more job by the bitmap, onto what the first has made."""
        self.write(AFTER)
        reusable = self.mode == 'always' or not self.fails or \
            self.sync in ('bitmap', 'incremental')
        path = self.target if reusable else self.fresh_overlay()
        if self.copy_mode == 'background':
            self.last_mirror(path)
        else:
            self.last_backup(path, self.guest.model.snapshot())
        self.bitmap.dirty = set()
        self.guest.check_bitmap('bitmap0', 'after the last job')
        self.guest.nbd.disconnect()

    def start_last(self, command, path):
        self.qsd.add_file_node('last', path)
        return Mirror(self.qsd, 'last').start(
            command=command, device='drive0', target='last', sync='bitmap',
            bitmap='bitmap0', bitmap_mode='always')

    def last_mirror(self, path):
        """The guest reads what was made of it."""
        self.start_last('blockdev-mirror', path).pivot()
        self.guest.check_content('after the last job')

    def last_backup(self, path, content):
        job = self.start_last('blockdev-backup', path)
        check_equal(job.end(), None, 'the last job')
        self.qsd.cmd('blockdev-del', node_name='last')
        iotests.check_content(path, content, 'after the last job')

    def whole(self, title):
        self.set_up()
        error = self.run()
        if self.how.get('end') in ('early', 'force', 'pending'):
            check_equal(error, 'cancelled', 'the error')
        else:
            check_equal(bool(error), self.fails, f'failing ({error})')
        exact = self.check_bitmap()
        count = self.qsd.bitmaps('drive0')['bitmap0']['count']
        log(f'{title:31} {error or "ok"}; dirty before '
            f'{self.before.count() / KIB:g} KiB, after '
            + (f'{count / KIB:g} KiB' if exact else 'within bounds'))
        self.remove_target()
        if self.pivots:
            self.after_pivot()
        else:
            self.bring_up_to_date()


def run_case(template, *args):
    scenario = args[3]
    with iotests.QemuStorageDaemon() as qsd:
        case = Case(template, qsd, *args[:3], SCENARIOS[scenario], *args[4:])
        try:
            case.whole(scenario)
        except Exception as e:
            e.args = (f'{args}: {e}',)
            raise


def matrix(template, copy_mode):
    for sync, mode in COMBINATIONS:
        iotests.heading(f'sync={sync}, bitmap-mode={mode or "omitted"}, '
                        f'{copy_mode}')
        for scenario in SCENARIOS:
            run_case(template, sync, mode, copy_mode, scenario)
