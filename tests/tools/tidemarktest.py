# SPDX-License-Identifier: GPL-2.0-or-later
#
# Running tidemark, and daemons that it can talk to beside the test.

import hashlib
import json
import os
import subprocess
import time

import iotests
from iotests import MIB, SOCK_DIR, check, check_equal, scratch
from environment import BUILD_DIR, TIDEMARK_PROG, TOOL_WRAPPER


STUMBLE = os.path.join(BUILD_DIR, 'tests/tools/libstumble.so')


def require_stumble():
    if not os.path.exists(STUMBLE):
        iotests.skip(f'{STUMBLE} is not built')


def stumbling(step, error=None):
    """The environment of a program that stumbles at a step (stumble.c)."""
    env = {'LD_PRELOAD': os.path.realpath(STUMBLE), 'STUMBLE_AT': str(step)}
    if error:
        env['STUMBLE_ERRNO'] = str(error)
    options = os.environ.get('ASAN_OPTIONS', '')
    env['ASAN_OPTIONS'] = f'{options}:verify_asan_link_order=0'
    return env


def tidemark(*words, status=0, timeout=None, env=None):
    """Run it; return what it printed on stdout.  Its status must be this."""
    return run(*words, status=status, timeout=timeout, env=env)[0]


def refusal(*words, status=1, env=None):
    """Run it; it must fail with this status.  What it says on stderr, without
    the program's name."""
    text = run(*words, status=status, env=env)[1]
    return text.replace(TIDEMARK_PROG + ': ', '').rstrip('\n')


def run(*words, status=0, timeout=None, env=None):
    """Run it; return stdout and stderr."""
    done = subprocess.run(
        [*TOOL_WRAPPER, TIDEMARK_PROG, *map(str, words)], check=False,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout or iotests.TIMEOUT * 3,
        env=dict(os.environ, **(env or {})))
    what = f"tidemark {' '.join(map(str, words))}"
    check('Sanitizer' not in done.stderr
          and 'runtime error' not in done.stderr, f'{what}\n{done.stderr}')
    if status is not None:
        check_equal(done.returncode, status,
                    f'{what}\n{done.stdout}{done.stderr}')
    return done.stdout, done.stderr


def tidemark_json(*words, **kwargs):
    return json.loads(tidemark(*words, **kwargs))


class TestDaemon(iotests.QemuStorageDaemon):
    """A storage daemon, or the peer's machine, with a second monitor, whose
    socket is `second`, since each has one client at a time."""

    def __init__(self, *args, prog=None, **kwargs):
        super().__init__(*args, prog=prog, **kwargs)
        self.second = os.path.join(SOCK_DIR, f'second-{self.number}.sock')
        chardev = f'socket,id=second,path={self.second},server=on,wait=off'
        if 'qemu-system' in self.command[0]:
            self._as_machine(args, chardev)
        else:
            self.command += ['--chardev', chardev, '--monitor', 'second']

    def _wait_until_ready(self):
        """The peer's machine writes its pid file before it listens."""
        super()._wait_until_ready()
        deadline = time.monotonic() + iotests.TIMEOUT
        while not (os.path.exists(self.socket) and os.path.exists(self.second)):
            check(self.process.poll() is None and time.monotonic() < deadline,
                  'no monitor: ' + self.errors())
            time.sleep(0.005)

    def _as_machine(self, args, chardev):
        """A machine with nothing in it takes the same options, otherwise
        written."""
        words = [{'--blockdev': '-blockdev', '--object': '-object'}.get(w, w)
                 for w in args]
        self.command = [
            self.command[0], '-machine', 'none', '-nodefaults', '-display',
            'none', *words, '-chardev', chardev, '-mon',
            'chardev=second,mode=control', '-chardev',
            f'socket,id=qmp0,path={self.socket},server=on,wait=off',
            '-mon', 'chardev=qmp0,mode=control', '-pidfile', self.pidfile]


def start(*words):
    """Start it; the caller sees to its end."""
    return subprocess.Popen([*TOOL_WRAPPER, TIDEMARK_PROG, *map(str, words)],
                            stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process, status):
    """Wait for the end of one that was started; what it said on stderr."""
    out, errors = process.communicate(timeout=iotests.TIMEOUT * 3)
    check('Sanitizer' not in errors, errors)
    check_equal(process.returncode, status, f'exit status\n{out}{errors}')
    return errors


class Scene:
    """A daemon with disks that are written, and a folder of backups.

    `expected`: what the disks held at the moment of each backup.
    """

    count = 0
    backup_format = 'qcow2'

    def __init__(self, prog=None, disks=1, size=16 * MIB, fmt='qcow2',
                 args=()):
        Scene.count += 1
        self.folder = scratch(f'backups-{Scene.count}')
        self.size = size
        self.fmt = fmt
        self.paths = {f'disk{i}': scratch(f'disk{i}.img')
                      for i in range(disks)}
        self.expected = {}
        words = list(args)
        for name, path in self.paths.items():
            iotests.qemu_img_create(fmt, path, size)
            words += ['--blockdev', json.dumps(
                {'driver': fmt, 'node-name': name,
                 'file': {'driver': 'file', 'filename': path}})]
        self.qsd = TestDaemon(*words, prog=prog)
        self.guests = {}

    def __enter__(self):
        self.qsd.start()
        self.connect_guests()
        return self

    def __exit__(self, *what):
        return self.qsd.__exit__(*what)

    def connect_guests(self):
        self.qsd.nbd_socket, self.qsd.exports = None, 0
        models = {name: guest.model for name, guest in self.guests.items()}
        self.guests = {name: iotests.GuestDisk(self.qsd, name, self.size,
                                               models.get(name))
                       for name in self.paths}

    def restart(self, kill=False):
        """End the daemon and start it again, with the same disks."""
        if kill:
            self.qsd.kill()
        else:
            self.qsd.quit()
        for path in (self.qsd.pidfile, self.qsd.socket, self.qsd.second):
            if os.path.exists(path):
                os.unlink(path)
        self.qsd.start()
        self.connect_guests()

    def resize(self, name, size):
        """A disk's size changes; its guest is connected anew."""
        guest = self.guests[name]
        export = next(e['id'] for e in self.qsd.cmd('query-block-exports')
                      if e['node-name'] == name)
        guest.nbd.disconnect()
        self.qsd.cmd('block-export-del', id=export, mode='hard')
        self.qsd.event('BLOCK_EXPORT_DELETED')
        self.qsd.cmd('block_resize', node_name=name, size=size)
        guest.model.resize(size)
        guest.nbd = self.qsd.export(name)

    def snapshot(self):
        return {name: bytes(guest.model.data)
                for name, guest in self.guests.items()}

    def words(self, *words):
        """The command line of a backup."""
        where = [] if {'--disks', '-n'} & set(words) else ['--disks', 'all']
        if self.backup_format != 'qcow2' and '-c' not in words:
            where += ['--format', self.backup_format]
        return ['backup', '--qmp', self.qsd.second, '--to', self.folder,
                *where, *words]

    def backup(self, *words):
        """Make a backup that succeeds; what --json says of it.  Each disk has
        one bitmap then."""
        then = self.snapshot()
        made = tidemark_json(*self.words('--json', *words))
        self.expected[made['id']] = {d['name']: then[d['name']]
                                     for d in made['disks']}
        self.check_server(len(self.paths))
        return made

    def check_server(self, bitmaps=None):
        """Nothing of ours is in the daemon but this many bitmaps."""
        check_equal(self.qsd.jobs(), {}, 'jobs')
        nodes = self.qsd.nodes()
        check_equal([n for n in nodes if n.startswith('tidemark')], [],
                    'nodes')
        found = [b['name'] for n in self.paths
                 for b in nodes[n].get('dirty-bitmaps', [])]
        if bitmaps is not None:
            check_equal(len(found), bitmaps, f'number of bitmaps: {found}')
        return found

    def check_backups(self):
        """Each backup in the folder holds what the disks did, unless it is
        being merged."""
        for name in listing(self.folder):
            if name in self.expected and \
                    manifest(self.folder, name)['state'] != 'whole':
                continue
            for disk, content in self.expected.get(name, {}).items():
                self._check_backup(name, disk, content)

    def _check_backup(self, name, disk, content):
        """Images are read by others, too; what is raw must be put together."""
        path = os.path.join(self.folder, name, f'{disk}.qcow2')
        if os.path.exists(path):
            iotests.check_content(path, content, f'backup {name}', 'qcow2')
            return
        path = scratch('restored.raw')
        tidemark('restore', '-q', '-f', '-u', name, '-d', disk, '-o', path,
                 self.folder)
        with open(path, 'rb') as file:
            check(file.read() == content, f'backup {name} of {disk} differs '
                  'from the disk as it was')
        os.unlink(path)

    def wait_for_job(self, number=0):
        """Wait until a backup copies; its job."""
        deadline = time.monotonic() + iotests.TIMEOUT
        while True:
            found = [j for i, j in self.qsd.jobs().items()
                     if i.endswith(f'-j{number}')]
            if found:
                return found[0]
            check(time.monotonic() < deadline, 'no job begins')
            time.sleep(0.01)


def listing(folder):
    """The whole backups in a folder, in their order."""
    return sorted(name for name in os.listdir(folder)
                  if name[0].isdigit() and '.' not in name)


def partial(folder):
    """The backups that are not whole."""
    return sorted(name for name in os.listdir(folder)
                  if name.endswith('.partial'))


def manifest(folder, name):
    with open(os.path.join(folder, name, 'manifest.json'),
              encoding='utf-8') as file:
        return json.load(file)


def write_manifest(folder, name, content):
    """Write a manifest with a checksum that is right."""
    content.pop('checksum', None)
    text = json.dumps(content, ensure_ascii=False)
    content['checksum'] = hashlib.sha256(text.encode()).hexdigest()
    with open(os.path.join(folder, name, 'manifest.json'), 'w',
              encoding='utf-8') as file:
        json.dump(content, file)
