# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of many kinds and command lines about them, drawn from a generator of
random numbers: formats, versions, features, chains and odd sizes.
"""
KIB, MIB = 1024, 1024 * 1024
SIZES = (0, 512, 64 * KIB, 1 * MIB, 3 * MIB + 512, 5 * MIB + 1536, 8 * MIB,
         16 * MIB + 64 * KIB, 33 * MIB)
CLUSTERS = ('512', '4k', '16k', '64k', '64k', '64k', '1M', '2M')
WRITABLE = ('raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc')
# Made by the peer for both, and only read by ours.
OLD = ('qcow', 'qed', 'parallels')
# Here a discard takes effect in ours only, so that zeroes are written.
NO_DISCARD = ('vmdk', 'vdi', 'vhdx', 'vpc', 'luks')
SECRET = '--object secret,id=k,data=key'


class Kind:
    """An image: its format, size and name, and the lines that make it."""

    def __init__(self, rng, seed):
        self.rng, self.name = rng, 'a.img'
        self.fmt = rng.choice(('qcow2',) * 10 + WRITABLE + OLD + ('luks',))
        self.size = rng.choice(SIZES) if rng.randrange(3) else \
            rng.randrange(1, 40 * MIB // 512) * 512
        self.backing, self.lines, self.data_file = None, [], False
        getattr(self, 'make_' + self.fmt, self.make_old)()
        self.title = f'seed {seed}: {self.fmt}'
        self.kind = self.lines[0] if not self.backing else \
            ' && '.join(self.lines)
        self.cluster = self.lines[-1].partition('cluster_size=')[2].split()[:1]
        if self.fmt == 'luks':      # the rest would be the key's noise
            self.lines.append(self.io(f"-c 'write -P 1 0 {self.size}'"))
        if self.fmt not in OLD and self.size:
            self.lines.append(self.io(self.io_words()))

    def flags(self):
        """Words that say how to open the image."""
        return f'{SECRET} --image-opts' if self.fmt == 'luks' else \
            f'-f {self.fmt}'

    def ref(self):
        """The name that goes with them."""
        return f'driver=luks,key-secret=k,file.filename={self.name}' \
            if self.fmt == 'luks' else self.name

    def io(self, words):
        return f'qemu-io {self.flags()} {words} {self.ref()}'

    def create(self, *options, program='qemu-img'):
        more = ' '.join(f'-o {o}' for o in options)
        back = f'-b {self.backing[0]} -F {self.backing[1]} ' \
            if self.backing else ''
        self.lines.append(f'{program} create -f {self.fmt} {more} {back}'
                          f'{self.name} {self.size}')

    def chance(self, n):
        return self.rng.randrange(n) == 0

    def make_raw(self):
        if self.chance(4) and self.size:
            self.size += self.rng.randrange(1, 512)     # not of whole sectors
            self.lines.append(f'truncate -s {self.size} {self.name}')
            return
        self.create(*(['preallocation=' + self.rng.choice(
            ('off', 'falloc', 'full'))] if self.chance(3) else ()))

    def features(self):
        """Options of a qcow2 image of version 3."""
        rng, options = self.rng, []
        for odds, option in (
                (4, f'refcount_bits={rng.choice((1, 2, 8, 32, 64))}'),
                (5, 'lazy_refcounts=on'), (4, 'compression_type=zstd')):
            if self.chance(odds):
                options.append(option)
        if self.chance(5):
            self.data_file = True
            options.append('data_file=a.data')
            if self.chance(2):
                options.append('data_file_raw=on')
        return options

    def make_qcow2(self):
        rng = self.rng
        cluster = rng.choice(CLUSTERS)
        options = [f'cluster_size={cluster}']
        if self.chance(5):
            options.append('compat=0.10')
        else:
            options += self.features()
            if self.chance(6) and cluster not in ('512', '4k'):
                options.append('extended_l2=on')
        if self.chance(4) and 'data_file_raw=on' not in options:
            self.make_backing()
        elif self.chance(4):
            options.append('preallocation=' + rng.choice(
                ('metadata', 'falloc', 'full')))
        self.create(*options)

    def make_backing(self):
        """A backing file, which may have one."""
        rng = self.rng
        fmt = rng.choice(('raw', 'qcow2', 'qcow2', 'vmdk'))
        self.backing = ('b.img', fmt)
        below = ''
        if fmt == 'qcow2' and self.chance(2):
            below = '-b c.img -F raw'
            self.lines += ['qemu-img create -q -f raw c.img '
                           f'{rng.choice(SIZES[2:])}',
                           "qemu-io -f raw -c 'write -q -P 78 0 64k' c.img"]
        self.lines += [
            f'qemu-img create -q -f {fmt} {below} b.img '
            f'{rng.choice(SIZES[3:])}',
            f"qemu-io -f {fmt} -c 'write -q -P 77 100k 600k' b.img"]

    def make_vmdk(self):
        self.size = max(self.size, 512)
        self.create('subformat=' + self.rng.choice(
            ('monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse',
             'twoGbMaxExtentFlat', 'streamOptimized')))

    def make_vdi(self):
        self.create(*(('static=on',) if self.chance(3) else ()))

    def make_vhdx(self):
        self.size = max(self.size, MIB)
        self.create('subformat=' + self.rng.choice(('dynamic', 'fixed')))

    def make_vpc(self):
        self.size = max(self.size, MIB)
        self.create('subformat=' + self.rng.choice(('dynamic', 'fixed')),
                    *(('force_size=on',) if self.chance(2) else ()))

    def make_luks(self):
        cipher = self.rng.choice(('aes-128', 'aes-256'))
        mode = self.rng.choice(('xts', 'cbc'))
        self.lines.append(
            f'qemu-img create {SECRET} -f luks -o key-secret=k,iter-time=10,'
            f'cipher-alg={cipher},cipher-mode={mode} {self.name} {self.size}')

    def make_old(self):
        self.size = max(self.size, MIB)
        self.create(program='/usr/bin/qemu-img')
        self.lines.append(f"/usr/bin/qemu-io -f {self.fmt} "
                          f"-c 'write -q -P 9 64k 300k' {self.name}")

    # What is in it

    def extent(self, align=1):
        rng = self.rng
        offset = rng.randrange(max(self.size // align, 1)) * align
        if self.chance(2):
            offset -= offset % (64 * KIB)
        length = rng.choice((1, 512, 4096, 5000, 64 * KIB, 200 * KIB, MIB))
        return offset, max(min(length, self.size - offset), 0)

    def io_word(self):
        offset, length = self.extent()
        byte = self.rng.randrange(256)
        word = self.rng.choice((
            f'write -P {byte} {offset} {length}',
            f'write -z {offset} {length}', f'write -zu {offset} {length}',
            f'discard {offset} {length}', f'read {offset} {length}',
            f'write -P 3 {offset} {length}', f'alloc {offset} {length}'))
        if word.startswith('discard') and self.fmt in NO_DISCARD:
            return f'write -z {offset} {length}'
        return word

    def io_words(self):
        return ' '.join(f"-c '{self.io_word()}'"
                        for _ in range(self.rng.randrange(1, 6)))

    # What is done with it

    def any_lines(self):
        """For all formats."""
        rng, flags, a = self.rng, self.flags(), self.ref()
        at, length = self.extent(512)
        other, cluster = rng.choice(WRITABLE), rng.choice(CLUSTERS)
        if self.fmt == 'luks':
            a = f'{flags} {a}'
        lines = [
            f'qemu-img info {a}', f'qemu-img info --output=json {a}',
            f'qemu-img info --backing-chain {a}', f'qemu-img map {a}',
            f'qemu-img map --output=json {a}',
            f'qemu-img map --output=json -s {at} -l {length or 512} {a}',
            f'qemu-img check {a}', f'qemu-img check --output=json {a}',
            f'qemu-img measure -O {rng.choice(("raw", "qcow2", "luks"))} {a}',
            f'qemu-img measure --output=json -O qcow2 -o cluster_size={cluster}'
            f' {a}',
            f'qemu-img convert -O {other} {a} c.img && qemu-img info c.img',
            f'qemu-img convert -O {other} {a} c.img && qemu-img info '
            '--output=json c.img']
        if self.fmt == 'luks':
            return lines
        option = rng.choice(('-c', '-S 0', '-S 64k', '-W', '-n', '-C', '-m 1',
                             '-T none -t none', '-U', '--salvage'))
        return lines + [
            f'qemu-img convert -O {other} {a} c.img && qemu-img compare {a} '
            'c.img',
            f'qemu-img convert {flags} -O qcow2 {option} {a} c.qcow2 && '
            'qemu-img check c.qcow2',
            f'qemu-img convert {flags} -O qcow2 -o cluster_size={cluster},'
            f'compat={rng.choice(("0.10", "1.1"))} {a} e.qcow2 && qemu-img '
            'check e.qcow2 && qemu-img compare e.qcow2 ' + a,
            f'qemu-img convert -O {other} {a} {a} c.img && qemu-img info c.img',
            f'qemu-img dd -f {self.fmt} -O qcow2 bs={rng.choice((512, 4096))} '
            f'count={rng.randrange(1, 3000)} skip={rng.randrange(5)} if={a} '
            'of=d.img && qemu-img info d.img',
            f'qemu-img compare {a} c.img', f'qemu-img compare -s {a} c.img',
            f'qemu-img check -r {rng.choice(("leaks", "all"))} {a}']

    def can_grow(self):
        """Behind the end of the disk the peer's clusters have what the backing
        file has there; those of LUKS have the key's noise."""
        return not (self.fmt == 'luks' or
                    (self.backing and self.size % (2 * MIB)))

    def write_lines(self):
        """For what can be written."""
        rng = self.rng
        to = rng.choice(('+64k', '+1M', '-64k', '2M', '7M', '1000k', '0',
                         '+1', '3x'))
        if not self.can_grow():
            to = '-64k'
        option = rng.choice(('', '--shrink', '-q', '--preallocation=metadata',
                             '--preallocation=falloc', '--preallocation=off'))
        return 4 * [self.io(self.io_words())] + [
            f'qemu-img resize {option} {self.flags()} {self.ref()} {to}',
            self.io("-c 'length' -c 'info' -c 'map'")]

    def snapshot_lines(self):
        rng, a = self.rng, self.name
        return [
            f'qemu-img snapshot -{rng.choice("ccad")} s{rng.randrange(3)} {a}',
            f'qemu-img snapshot -l {a}',
            f'qemu-img convert -l snapshot.name=s{rng.randrange(3)} -O raw {a}'
            ' s.img',
            f'qemu-img measure -l s{rng.randrange(3)} -O qcow2 {a}',
            f'qemu-img info --output=json {a}']

    def bitmap_lines(self):
        rng, a = self.rng, self.name
        b = f'b{rng.randrange(3)}'
        verb = rng.choice(('add', 'add', 'remove', 'clear', 'enable',
                           'disable', 'add --disabled', 'add -g 128k'))
        verb = verb.replace('-g', '').replace('128k', '--granularity=128k')
        return [
            f'qemu-img bitmap --{verb} {a} {b}',
            f'qemu-img bitmap --merge b0 {a} b1',
            f'qemu-img bitmap --add --merge b0 {a} b2',
            f'qemu-img convert --bitmaps -O qcow2 {a} f.qcow2 && qemu-img info '
            'f.qcow2',
            f'qemu-img measure -O qcow2 {a}']

    def chain_lines(self):
        """About images over and under this one."""
        rng, a = self.rng, self.name
        at, length = self.extent(512)
        top = f'qemu-img create -q -f qcow2 -b {a} -F qcow2 top.img && ' \
            f"qemu-io -c 'write -q -P 6 {at} {length or 512}' top.img && "
        lines = [
            f'{top}qemu-img commit top.img && qemu-img map --output=json '
            'top.img',
            f'{top}qemu-img commit -d top.img && qemu-img info top.img',
            f'{top}qemu-img rebase -b "" top.img && qemu-img info top.img',
            f'{top}qemu-img info --backing-chain --output=json top.img',
            f'{top}qemu-img compare top.img {a}',
            f'{top}qemu-img convert -B {a} -F qcow2 -O qcow2 top.img t2.img && '
            'qemu-img map --output=json t2.img']
        if self.backing:
            name, fmt = self.backing
            lines += 2 * [
                f'qemu-img rebase -b "" {a}',
                f'qemu-img rebase -u -b {name} -F {fmt} {a}',
                f'qemu-img rebase -b {name} -F {fmt} {a}',
                f'qemu-img commit {a}', f'qemu-img commit -b {name} {a}',
                f'qemu-img commit -b other {a}',
                f'qemu-img compare -f qcow2 -F {fmt} {a} {name}']
        return lines

    def amend_lines(self):
        a, rng = self.name, self.rng
        lines = [
            f'qemu-img amend -o compat={rng.choice(("1.1", "0.10"))} {a}',
            f'qemu-img amend -o lazy_refcounts={rng.choice(("on", "off"))} {a}']
        if self.cluster == ['64k']:         # the peer takes minutes for others
            lines.append('qemu-img amend -o refcount_bits='
                         f'{rng.choice((1, 8, 16, 64))} {a}')
        if self.can_grow():
            lines.append(f'qemu-img amend -o size={rng.choice(SIZES[3:])} {a}')
        return lines

    def line(self):
        groups = [self.any_lines()] * 3
        if self.fmt not in OLD and self.size:
            groups += [self.write_lines()] * 2
        if self.fmt == 'qcow2':
            groups += [self.snapshot_lines(), self.bitmap_lines(),
                       self.chain_lines(), self.amend_lines()]
        return self.rng.choice(self.rng.choice(groups))
