# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted images for tests: luks, and qcow2 with LUKS or the old AES."""
import iotests
from formatdisk import OURS
from iotests import (KIB, MIB, QemuStorageDaemon, check, check_equal, log,
                     run_tool)

# The least work for a key that there is, so that tests do not take long.
FAST = {'iter-time': 1}
SECRETS = {'s0': 'first key', 's1': 'second key', 's2': 'not a key'}


def secret_words(**more):
    """--object of all secrets, for any program."""
    return [word for name, data in {**SECRETS, **more}.items()
            for word in ('--object', f'secret,id={name},data={data}')]


def daemon(*args):
    return QemuStorageDaemon(*secret_words(), *args)


def image_opts(fmt, path, secret='s0', **more):
    """The words by which a tool opens an encrypted image."""
    key = 'key-secret' if fmt == 'luks' else 'encrypt.key-secret'
    words = {'driver': fmt, 'file.filename': path, key: secret, **more}
    return [*secret_words(), '--image-opts',
            ','.join(f'{k}={v}' for k, v in words.items())]


def create_words(fmt, secret='s0', **options):
    """For `qemu-img create`; options of the encryption as of luks."""
    options = {**FAST, **options, 'key-secret': secret}
    if fmt != 'luks':
        options = {f'encrypt.{k}': v for k, v in options.items()}
        options['encrypt.format'] = 'luks'
    return [*secret_words(), '-f', fmt, '-o',
            ','.join(f'{k}={v}' for k, v in options.items())]


def img(command, fmt, path, *args, after=(), prog=None, secret='s0'):
    """qemu-img on an encrypted image, `after` being what follows its name:
    status and output."""
    return run_tool(prog or iotests.QEMU_IMG_PROG, command, *args,
                    *image_opts(fmt, path, secret), *after)


def io(fmt, path, *commands, prog=None, secret='s0', status=0):
    words = [w for c in commands for w in ('-c', c)]
    got, text = run_tool(prog or iotests.QEMU_IO_PROG, *words,
                         *image_opts(fmt, path, secret))
    check_equal(got, status, f'{path}: {commands}: {text}')
    check('failed' not in text or status, f'{path}: {commands}: {text}')
    return text


def read_all(fmt, path, prog=None, secret='s0'):
    """What the disk holds, by `qemu-img convert`."""
    raw = iotests.scratch('plain.raw')
    status, text = run_tool(prog or iotests.QEMU_IMG_PROG, 'convert', '-O',
                            'raw', *image_opts(fmt, path, secret), raw)
    check_equal(status, 0, text)
    with open(raw, 'rb') as file:
        return file.read()


def slots(path, prog=None):
    """Which key slots are active, as `info` says without a key."""
    data = iotests.qemu_img_json('info', path,
                                 prog=prog)['format-specific']['data']
    return [i for i, s in enumerate(data.get('encrypt', data)['slots'])
            if s['active']]


def has_none_of(path, *patterns):
    """Plain text must not be in the file."""
    with open(path, 'rb') as file:
        data = file.read()
    for pattern in patterns:
        check(pattern not in data, f'{path} has {pattern[:20]!r} in it')


def amend_job(qsd, node, driver, options, force=False, refused=None):
    """x-blockdev-amend to its end; `refused`: it must fail so."""
    if driver == 'qcow2':
        options = {'encrypt': {'format': 'luks', **options}}
    qsd.cmd('x-blockdev-amend', job_id='amend', node_name=node, force=force,
            options={'driver': driver, **options})
    qsd.event('JOB_STATUS_CHANGE', {'status': 'concluded', 'id': 'amend'})
    job = qsd.cmd('query-jobs')[0]
    qsd.cmd('job-dismiss', id='amend')
    check_equal('error' in job, refused is not None, job)
    if refused:
        check(refused in job['error'], job)
        log(job['error'])


# What the tests with the peer share.  A side is (qemu-img, qemu-io).

SIZE = 3 * MIB


def patient(call):
    """The peer measures the processor, and fails if that is busy."""
    for _ in range(50):
        status, text = call()
        if 'accurate CPU usage' not in text:
            break
    return status, text


def create_by(maker, path, size=SIZE, secret='s0', **options):
    options['iter-time'] = 1 if maker is OURS else 10
    status, text = patient(lambda: iotests.qemu_img_status(
        'create', *create_words('luks', secret, **options), path, size,
        prog=maker[0]))
    check_equal(status, 0, text)
    return text.replace('iter-time=10', 'iter-time=1')


def write_by(side, path, data, seed):
    """Single sectors, odd ranges, and more than one thread's work."""
    words = []
    for number, (at, length) in enumerate((
            (0, 512), (64 * KIB - 1000, 2048), (MIB - 7, 1300 * KIB),
            (SIZE - 512, 512))):
        data[at:at + length] = bytes([seed + number]) * length
        words.append(f'write -q -P {seed + number} {at} {length}')
    io('luks', path, *words, prog=side[1])


def qcow2_words(maker, options):
    args = create_words('qcow2')
    plain = {w.split('=')[0]: w.split('=')[1] for w in args[-1].split(',')}
    plain.update({k: str(v) for k, v in options.items()})
    plain['encrypt.iter-time'] = '1' if maker is OURS else '10'
    if plain['encrypt.format'] == 'aes':
        del plain['encrypt.iter-time']
    args[-1] = ','.join(f'{k}={v}' for k, v in plain.items())
    return args


def create_qcow2_by(maker, path, options, *more):
    status, text = patient(lambda: iotests.qemu_img_status(
        'create', *qcow2_words(maker, options), *more, path, SIZE, prog=maker[0]))
    check_equal(status, 0, text)
    return text.replace('iter-time=10', 'iter-time=1')
