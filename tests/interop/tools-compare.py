#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs qemu-img and qemu-io of this tree and of the installed peer over the
same command lines, each in a folder of its own, and compares what they print
and how they end.

Usage: tools-compare.py BUILD-FOLDER [PEER-FOLDER] [-v] [NAME... | half N]

"half 1" and "half 2" are every other scenario.

Ends with 1 where something differs, with 77 (skipped) where there is no peer.

A scenario is a list of lines, each a shell command.  What a line may differ in
is said before it: '~' only the exit status counts, '=' standard output and the
exit status, '{' standard output is JSON, '!NAME /PATTERN/ ' it is known to differ,
as docs/interop/differences.rst says under that name, and ours has PATTERN (that it
does not differ any more counts as a difference); nothing: both outputs count.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import peercompare

INJECT = ('driver=raw,file.driver=blkdebug,file.image.driver=file,'
          'file.image.filename=%s,file.inject-error.0.event=none,'
          'file.inject-error.0.errno=%d,file.inject-error.0.iotype=%s')
BLKDEBUG = ('driver=%s,file.driver=blkdebug,file.image.driver=file,'
            'file.image.filename=%s')


def io(image, *commands, options='-f qcow2'):
    """A call of qemu-io with @commands on @image."""
    words = ' '.join("-c '%s'" % c for c in commands)
    return 'qemu-io %s %s %s' % (options, words, image)


# A disk with data, zeroes and holes; and one over it.
BASE = [
    '~qemu-img create -q -f qcow2 a.q 64M',
    io('a.q', 'write -P 1 0 64k', 'write -P 2 1M 128k', 'write 2M 1M',
       'write -z 2M 1M'),
    '~qemu-img create -q -f qcow2 -b a.q -F qcow2 ov.q',
    io('ov.q', 'write -P 3 64k 64k', 'write -z 3M 1M'),
    '~qemu-img create -q a.raw 10M',
    io('a.raw', 'write -P 7 0 4k', 'write -P 5 70001 3', 'write -P 0 1M 4k',
       'write 9M 512', options='-f raw'),
]

SCENARIOS = {
    'usage': [
        'qemu-img', 'qemu-img foo', 'qemu-img create', 'qemu-img info',
        'qemu-img info a b', 'qemu-img check', 'qemu-img compare a',
        'qemu-img compare a b c', 'qemu-img convert', 'qemu-img convert x',
        'qemu-img map', 'qemu-img measure', 'qemu-img resize',
        'qemu-img resize x', 'qemu-img resize x 1 2', 'qemu-img bitmap',
        'qemu-img bitmap --add x', 'qemu-img bitmap x y',
        'qemu-img create --bad', 'qemu-img create -z', 'qemu-img create -o',
        'qemu-img info --output=foo x', 'qemu-img check -r foo x',
        'qemu-img compare -T bad x y', '~qemu-img convert -t bad x y',
        'qemu-img convert -T bad x y', 'qemu-img convert -m 0 x y',
        'qemu-img convert -m 17 x y', 'qemu-img convert -S 1 x y',
        'qemu-img convert -S x x y', 'qemu-img convert -r x x y',
        'qemu-img convert --target-is-zero x y',
        'qemu-img convert --target-image-opts x y',
        'qemu-img convert --skip-broken-bitmaps x y',
        'qemu-img convert -C --salvage x y', 'qemu-img convert -C -S 4k x y',
        'qemu-img map --start-offset=-1 x', 'qemu-img map --max-length=z x',
        'qemu-img measure --size 1 x', 'qemu-img measure x y',
        'qemu-img measure --size X', '~qemu-img --help',
        '~qemu-img --version', '~qemu-img info --help',
        '~qemu-img convert --help', '~qemu-io --help', '~qemu-io --version',
        '~qemu-io a b', '~qemu-io -Z x', 'qemu-io -t bad x -c length',
        'qemu-io -d bad x -c length', 'qemu-io -i bad x -c length',
        'qemu-io --image-opts -f raw x -c length',
    ],
    'create': [
        'qemu-img create -f qcow2 a.q 64M',
        'qemu-img create -f qcow2 -o cluster_size=128k,lazy_refcounts=on,'
        'preallocation=metadata b.q 1G',
        'qemu-img info b.q', 'qemu-img create a.raw 10M',
        'qemu-img create a.raw 10X', 'qemu-img create a.raw -- -5',
        'qemu-img create a.raw 5 6', 'qemu-img create -f bad a.raw 5',
        'qemu-img create -f qcow2 -o foo=bar x 1M',
        'qemu-img create -f qcow2 -o cluster_size=3 x 1M',
        'qemu-img create -f qcow2 -o size=1M x',
        'qemu-img create -f qcow2 -o size=1M x 2M',
        'qemu-img create -f qcow2 x', 'qemu-img create -f qcow2 x 9E',
        '=qemu-img create -f qcow2 -b a.q ov.q',
        'qemu-img create -f qcow2 -b a.q -F qcow2 ov.q',
        'qemu-img create -f qcow2 -b no.q -F qcow2 ov2.q 1M',
        'qemu-img create -f qcow2 -u -b no.q -F qcow2 ov2.q 1M',
        'qemu-img create -f qcow2 -u -b no.q -F qcow2 ov3.q',
        'qemu-img create -f qcow2 -u -b no.q ov3.q 1M',
        'qemu-img create -f qcow2 -F qcow2 ov3.q 1M',
        'qemu-img create -f qcow2 -o size=12 x',
        'qemu-img create -f qcow2 x 513', 'qemu-img info x',
        'qemu-img create x 700', 'qemu-img info x',
        'qemu-img create -f raw -b a.q -F qcow2 ov3.raw 1M',
        'qemu-img create -f null-co x 1M',
        'qemu-img create -f qcow2 /nonexistent/x 1M',
        'qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M',
        'qemu-img info v2.q',
        '~qemu-img create -f qcow2 -o help', '~qemu-img create -o help x',
        'qemu-img create -f qcow2 -o preallocation=foo zz 1M',
        'qemu-img create -f qcow2 -o size=1024 -o cluster_size=64k,'
        'backing_file=a.raw,backing_fmt=raw z.q',
        'qemu-img info z.q',
    ],
    'info': BASE + [
        'qemu-img bitmap --add a.q b0',
        'qemu-img bitmap --add -g 128k --disable a.q b1',
        'qemu-img info a.q', '{qemu-img info --output=json a.q',
        'qemu-img info --backing-chain ov.q',
        '{qemu-img info --backing-chain --output=json ov.q',
        'qemu-img info a.raw', 'qemu-img info nonexistent',
        'qemu-img info -f qcow2 a.raw', 'qemu-img info -f bad a.raw',
        'qemu-img info --image-opts driver=qcow2,file.filename=a.q',
        'qemu-img info --image-opts -f qcow2 file.filename=a.q',
        '''qemu-img info 'json:{"driver":"qcow2","file":{"driver":"file",'''
        '''"filename":"a.q"}}' ''',
        'qemu-img info -U a.q', 'qemu-img info /',
        '~qemu-img info --image-opts driver=raw,size=1048576,'
        'file.filename=a.raw',
        'mkdir sub; cd sub; qemu-img create -q -f qcow2 b.q 1M; '
        'qemu-img create -q -f qcow2 -b b.q -F qcow2 t.q',
        'qemu-img info sub/t.q', 'qemu-img info --backing-chain sub/t.q',
        '{qemu-img info --output=json sub/t.q',
        '~qemu-io -c "write 0 64k" -c abort a.q',
        'qemu-img info a.q',
    ],
    'check': BASE + [
        'qemu-img check a.q', '{qemu-img check --output=json a.q',
        io('a.q', 'write 2M 1M'),
        'qemu-img check a.q', '{qemu-img check --output=json a.q',
        'qemu-img check -q a.q', 'qemu-img check a.raw',
        'qemu-img check nonexistent', 'qemu-img check -r all a.q',
        'qemu-img check ov.q', 'qemu-img create -q -f qcow2 e.q 0',
        'qemu-img check e.q', 'qemu-img resize e.q 1M',
        '=qemu-img check e.q', 'qemu-img create -q -f qcow2 f.q 1M',
        'qemu-img check f.q',
        '''python3 -c "
import struct
f = open('a.q', 'r+b'); h = f.read(104)
f.seek(struct.unpack('>Q', h[48:56])[0])
block = struct.unpack('>Q', f.read(8))[0]
n = (f.seek(0, 2) + 65535) // 65536
f.truncate((n + 3) * 65536)
f.seek(block + 2 * n); f.write(struct.pack('>HHH', 1, 1, 1))" ''',
        'cp a.q c.q', '~qemu-img check c.q',
        '~qemu-img check --output=json c.q', '~qemu-img check -r leaks c.q',
        'qemu-img check c.q', '~qemu-img check -r leaks --output=json a.q',
        '''python3 -c "
import struct
f = open('c.q', 'r+b'); h = f.read(104)
f.seek(struct.unpack('>Q', h[48:56])[0])
block = struct.unpack('>Q', f.read(8))[0]
f.seek(block + 2 * 5); f.write(struct.pack('>H', 0))" ''',
        '~qemu-img check c.q', '~qemu-img check -q c.q',
        '~qemu-img check -r all c.q', '~qemu-img check c.q',
    ],
    'compare': BASE + [
        'cp a.raw b.raw', 'qemu-img compare a.raw b.raw',
        'qemu-img compare a.q ov.q', 'qemu-img compare -q a.q ov.q',
        'qemu-img compare a.raw a.q', 'qemu-img compare -s a.raw a.q',
        'qemu-img create -q z1.raw 10M', 'qemu-img create -q z2.raw 12M',
        'qemu-img create -q -f qcow2 z1.q 10M',
        'qemu-img compare z1.raw a.raw', 'qemu-img compare z1.raw z2.raw',
        'qemu-img compare -s z1.raw z2.raw',
        'qemu-img compare -s z1.raw z1.q', 'qemu-img compare -p z1.raw z1.q',
        io('z2.raw', 'write 11M 4k', options='-f raw'),
        'qemu-img compare z1.raw z2.raw', 'qemu-img compare z2.raw z1.raw',
        'qemu-img compare -p z2.raw z1.raw', 'qemu-img compare z2.raw no',
        'qemu-img compare -f qcow2 a.raw a.raw',
        'qemu-img compare -f raw -F qcow2 z1.raw z1.q',
    ],
    'map': BASE + [
        'qemu-img map a.q', '{qemu-img map --output=json a.q',
        'qemu-img map --output=json ov.q', 'qemu-img map ov.q',
        'qemu-img map --output=json -s 64k -l 100k ov.q',
        'qemu-img map --start-offset=70000 --max-length=5M --output=json '
        'ov.q', 'qemu-img map --start-offset=5G --output=json ov.q',
        'qemu-img map a.raw', 'qemu-img map --output=json a.raw',
        'qemu-img create -q -f qcow2 e.q 0', 'qemu-img map e.q',
        'qemu-img map --output=json e.q',
        'qemu-img create -q -f qcow2 base.q 1M', io('base.q', 'write 0 64k'),
        'qemu-img create -q -f qcow2 -b base.q -F qcow2 mid.q 2M',
        'qemu-img create -q -f qcow2 -b mid.q -F qcow2 top.q 3M',
        io('top.q', 'write -z 1536k 64k', 'write -z 2560k 64k',
           'write 2816k 64k'),
        'qemu-img map --output=json top.q', 'qemu-img map top.q',
        '=qemu-img map --image-opts ' + INJECT % ('a.raw', 5, 'block-status'),
    ],
    'bitmap': BASE + [
        'qemu-img bitmap --add a.q b0', 'qemu-img bitmap --add a.q b0',
        'qemu-img bitmap --add -g 128k --disable a.q b1',
        'qemu-img bitmap --remove a.q bx',
        'qemu-img bitmap --disable --clear a.q b0',
        'qemu-img bitmap --merge b1 --merge b0 a.q b0',
        'qemu-img bitmap --merge bx a.q b0',
        '~qemu-img bitmap --add -f raw a.raw b0',
        '~qemu-img bitmap --add -g 5 a.q b5',
        'qemu-img bitmap -g 64k --remove a.q b5',
        'qemu-img bitmap -b a.q --remove a.q b5',
        'qemu-img bitmap -F qcow2 --merge b0 a.q b5',
        'qemu-img bitmap --add ov.q o1',
        'qemu-img bitmap -b a.q -F qcow2 --merge b0 ov.q o1',
        'qemu-img bitmap --add nonexistent c',
        'qemu-img bitmap -b nonexistent --merge c ov.q o1',
        'qemu-img info a.q', 'qemu-img info ov.q',
        '~qemu-img create -q -f qcow2 -o compat=0.10 v2.q 1M',
        '~qemu-img bitmap --add v2.q b',
        'qemu-img convert --bitmaps -O qcow2 a.q c.q', 'qemu-img info c.q',
        'qemu-img convert --bitmaps -O raw a.q c.raw',
        '~qemu-img convert --bitmaps -O qcow2 a.raw c.q',
        '~qemu-io -c "write 0 64k" -c abort a.q',
        'qemu-img info a.q', '~qemu-img bitmap --add a.q b1',
        'qemu-img bitmap --enable a.q b1', 'qemu-img bitmap --clear a.q b0',
        'qemu-img bitmap --add a.q b3', 'qemu-img info a.q',
        '~qemu-img convert --bitmaps -O qcow2 ov.q c.q',
        'qemu-img bitmap --remove a.q b0', 'qemu-img info a.q',
    ],
    'broken-bitmap': BASE + [
        'qemu-img bitmap --add a.q b0',
        '~qemu-io -c "write 0 64k" -c abort a.q',
        'qemu-img info a.q', '~qemu-img bitmap --add a.q b0',
        '=qemu-img bitmap --enable a.q b0',
        '=qemu-img bitmap --clear a.q b0',
        '=qemu-img bitmap --merge b0 a.q b0',
        'qemu-img convert --bitmaps -O qcow2 a.q c.q',
        'qemu-img convert --bitmaps --skip-broken-bitmaps -O qcow2 a.q c.q',
        'qemu-img info c.q', 'qemu-img bitmap --remove a.q b0',
        'qemu-img info a.q',
    ],
    'measure': BASE + [
        'qemu-img measure --size 1G', 'qemu-img measure --size 1G -O qcow2',
        'qemu-img measure --size 0 -O qcow2',
        '{qemu-img measure --size 1G -O qcow2 --output=json',
        'qemu-img bitmap --add a.q b0', 'qemu-img measure -O qcow2 a.q',
        '{qemu-img measure -O qcow2 --output=json a.q',
        'qemu-img measure -O raw a.q', 'qemu-img measure -O bad a.q',
        'qemu-img measure -O qcow2 -o cluster_size=2M a.raw',
        'qemu-img measure -O qcow2 ov.q', 'qemu-img measure -O qcow2 a.raw',
        'qemu-img measure -O null-co a.raw',
        'qemu-img measure -O qcow2 -o foo=1 a.raw',
        'qemu-img measure -O qcow2 -o compat=0.10,preallocation=full a.raw',
    ],
    'resize': BASE + [
        '=qemu-img resize a.raw 20M', 'qemu-img resize -f raw a.raw 20M',
        'qemu-img resize -f raw a.raw +1M',
        'qemu-img resize -f raw a.raw -1M',
        'qemu-img resize -f raw a.raw 10M',
        'qemu-img resize -f raw --shrink a.raw 10M',
        'qemu-img resize -q -f raw a.raw 11M',
        'qemu-img resize -f raw a.raw foo', 'qemu-img resize -f raw a.raw +0',
        'qemu-img resize -f raw a.raw -90M',
        'qemu-img resize --preallocation=full -f raw a.raw 12M',
        'qemu-img resize --preallocation=bad -f raw a.raw 12M',
        'qemu-img resize --preallocation=full -f raw --shrink a.raw 1M',
        'qemu-img info a.raw', 'qemu-img resize a.q 70M',
        'qemu-img resize --shrink a.q 65M', 'qemu-img info a.q',
        'qemu-img resize --preallocation=metadata ov.q 80M',
        'qemu-img check ov.q', 'qemu-img create -q -f qcow2 -b a.q -F qcow2 '
        'ov2.q 1M', 'qemu-img resize --preallocation=falloc ov2.q 3M',
        '!holes-found /1048576, "length": 2097152, .*"zero": true/ '
        'qemu-img map --output=json ov2.q',
        io('ov2.q', 'read -P 0 1M 2M'), 'qemu-img resize nonexistent 1M',
    ],
    'rebase': BASE + [
        'qemu-img rebase', 'qemu-img rebase ov.q', 'qemu-img rebase -b x y z',
        'qemu-img rebase -b a.q -t bad ov.q',
        'qemu-img rebase -b a.q -T bad ov.q',
        'qemu-img rebase -b a.q -F foo ov.q',
        'qemu-img rebase -u -b a.q -F foo ov.q',
        'qemu-img rebase -b no.q -F qcow2 ov.q',
        'qemu-img rebase -b a.q nonexistent',
        'qemu-img rebase -b a.q ov.q', 'qemu-img rebase -u -b a.q ov.q',
        'qemu-img rebase -f raw -b a.q -F qcow2 a.raw',
        '=qemu-img rebase -b ov.q -F qcow2 ov.q',
        'cp ov.q o1.q; qemu-img create -q -f qcow2 n.q 64M; ' +
        io('n.q', 'write -P 1 0 32k', 'write -P 9 50M 1M', 'write -z 1M 64k',
           'write -P 8 64k 64k'),
        'qemu-img rebase -b n.q -F qcow2 o1.q', 'qemu-img info o1.q',
        '!zero-clusters /52428800, .* true, "zero": true/ '
        'qemu-img map --output=json o1.q', 'qemu-img compare ov.q o1.q',
        '~qemu-img check o1.q', "qemu-img rebase -p -b '' o1.q",
        'qemu-img info o1.q', 'qemu-img compare ov.q o1.q',
        '!zero-clusters /52428800, .* true, "zero": true/ '
        'qemu-img map --output=json o1.q',
        'qemu-img rebase -b n.q -F qcow2 o1.q', 'qemu-img compare ov.q o1.q',
        'qemu-img rebase -u -b nowhere -F raw o1.q', '~qemu-img info o1.q',
        '=qemu-img compare ov.q o1.q', 'qemu-img rebase -u o1.q',
        'qemu-img info o1.q',
        # Within its chain, layers of other sizes.
        'qemu-img create -q -f qcow2 -b a.q -F qcow2 mid.q 32M; ' +
        io('mid.q', 'write -P 5 5M 1M', 'write -z 0 64k'),
        'qemu-img create -q -f qcow2 -b mid.q -F qcow2 top.q 80M; ' +
        io('top.q', 'write -P 6 6M 64k', 'write -P 6 70M 64k'),
        'qemu-img convert top.q top.raw',
        'qemu-img rebase -b a.q -F qcow2 top.q', 'qemu-img info top.q',
        '!zero-clusters /start": 0, .* true, "zero": true/ '
        'qemu-img map --output=json top.q', 'qemu-img compare top.q top.raw',
        '~qemu-img create -q -f qcow2 -o compat=0.10 v2.q 8M',
        'cp v2.q v2b.q; qemu-img rebase -b n.q -F qcow2 v2.q',
        '!rebase-v2 /^Images are identical/ qemu-img compare v2.q v2b.q',
    ],
    'commit': BASE + [
        'qemu-img commit', 'qemu-img commit x y', 'qemu-img commit x',
        'qemu-img commit a.q', 'qemu-img commit -f raw a.raw',
        'qemu-img commit -t bad ov.q', 'qemu-img commit -r x ov.q',
        'qemu-img commit -b x ov.q', 'qemu-img commit -b ov.q ov.q',
        'qemu-img create -q -f qcow2 -b ov.q -F qcow2 top.q 80M; ' +
        io('top.q', 'write -P 6 6M 64k', 'write -P 7 70M 64k',
           'write -z 1M 64k'), 'qemu-img bitmap --add top.q b0',
        'qemu-img convert top.q top.raw', 'mkdir d s; cp *.q d; cp *.q s',
        'qemu-img commit -r 1G top.q', 'qemu-img compare top.q top.raw',
        'qemu-img compare ov.q top.raw', 'qemu-img info top.q',
        # The peer's order of clusters is another each time.
        'qemu-img info ov.q', '~qemu-img map --output=json top.q',
        'qemu-img map ov.q | grep -c 0x', '~qemu-img check top.q',
        '~qemu-img check ov.q',
        'qemu-img commit -d -q d/top.q',
        'qemu-img compare d/top.q top.raw', '~qemu-img check d/ov.q',
        'cd s; qemu-img commit -p -b a.q top.q',
        'qemu-img compare s/a.q top.raw', '~qemu-img check s/a.q',
        'qemu-img compare s/top.q top.raw', 'qemu-img info s/a.q',
        'qemu-img create -q small.raw 1M; qemu-img create -q -f qcow2 -b '
        'small.raw -F raw o.q 2M; ' + io('o.q', 'write -P 4 0 64k',
                                         'write -P 5 1536k 64k'),
        'qemu-img commit o.q', 'qemu-img info small.raw',
        '{qemu-img map --output=json o.q', 'qemu-img compare o.q small.raw',
    ],
    'convert': BASE + [
        'qemu-img convert a.q o.raw', '{qemu-img map --output=json o.raw',
        'qemu-img compare a.q o.raw', 'qemu-img convert -O qcow2 a.q o.q',
        '{qemu-img map --output=json o.q', 'qemu-img compare a.q o.q',
        'qemu-img convert -p -O qcow2 ov.q o.q', 'qemu-img compare ov.q o.q',
        'qemu-img convert -n -O qcow2 a.q no.q',
        'qemu-img convert -n -O qcow2 a.q o.q', 'qemu-img compare a.q o.q',
        'qemu-img convert -c -O raw a.q x.raw',
        'qemu-img convert -c -O qcow2 a.q x.q', 'qemu-img compare a.q x.q',
        'qemu-img check x.q',
        'qemu-img convert -O bad a.q x.raw',
        'qemu-img convert -W -m 16 ov.q o.raw', 'qemu-img compare ov.q o.raw',
        'qemu-img convert -S 0 a.q o.raw', 'qemu-img map o.raw',
        'qemu-img convert -S 512 a.raw o.raw',
        'qemu-img compare a.raw o.raw',
        'qemu-img convert -r 1G a.q o.raw',
        'qemu-img convert -B a.q -O qcow2 ov.q o2.q',
        'qemu-img convert -B a.q -F qcow2 -O qcow2 ov.q o2.q',
        '{qemu-img map --output=json o2.q', 'qemu-img compare ov.q o2.q',
        'qemu-img convert -B a.q -F qcow2 -O qcow2 a.q o2.q',
        '{qemu-img map --output=json o2.q', 'qemu-img compare a.q o2.q',
        '~qemu-img convert -F qcow2 -O qcow2 a.q o3.q',
        '~qemu-img convert -B a.q -F qcow2 -O raw a.q o2.raw',
        'qemu-img convert -B a.q -F qcow2 -O qcow2 a.raw a.q o3.q',
        'qemu-img convert -o cluster_size=7 -O qcow2 a.q o2.q',
        'qemu-img convert -o size=1M -O qcow2 a.q o2.q',
        'qemu-img convert -o compat=v3,cluster_size=2M -O qcow2 a.q o2.q',
        'qemu-img compare a.q o2.q', 'qemu-img check o2.q',
        'qemu-img convert a.raw ov.q a.raw o2.raw',
        'head -c 1000 a.raw > odd.raw; '
        'qemu-img convert -f raw odd.raw odd.raw a.raw odd2.raw',
        'md5sum odd2.raw', 'qemu-img compare -f raw odd.raw odd2.raw',
        'qemu-img convert -f raw -O qcow2 odd.raw odd.q',
        'qemu-img info odd.q', 'qemu-img compare -f raw odd.raw odd.q',
        'qemu-img convert ov.q o.raw; cat a.raw o.raw a.raw | cmp - o2.raw',
        'qemu-img create -q small.raw 1M; qemu-img convert -n a.q small.raw',
        'qemu-img create -q big.raw 70M; qemu-img convert -n a.q big.raw',
        'qemu-img compare a.q big.raw', 'qemu-img info big.raw',
        'qemu-img convert -n -o cluster_size=1M a.q big.raw',
        'qemu-img convert a.q /nonexistent/foo',
        'qemu-img convert nonexistent foo',
        'qemu-img convert -n --target-image-opts a.q '
        'driver=raw,file.filename=big.raw',
        'qemu-img convert --image-opts driver=qcow2,file.filename=a.q t.raw',
        'qemu-img compare a.q t.raw',
        'qemu-img convert -C a.raw t.raw', 'qemu-img compare a.raw t.raw',
        'qemu-img convert -U a.raw t.raw', 'qemu-img compare a.raw t.raw',
        'qemu-img create -q rest.raw 64M; ' +
        io('rest.raw', 'write -P 9 0 64M', options='-f raw'),
        'qemu-img convert -n a.q rest.raw', 'qemu-img compare a.q rest.raw',
    ],
    'convert-errors': [
        '~qemu-img create -q b.raw 8M',
        io('b.raw', 'write -P 1 0 8M', options='-f raw'),
        # In which piece the error lies is told; ours are smaller.
        '=qemu-img convert --image-opts %s,file.inject-error.0.sector=8000 '
        'o.raw' % (INJECT % ('b.raw', 5, 'read')),
        'qemu-img convert --salvage --image-opts '
        '%s,file.inject-error.0.sector=8000,file.inject-error.0.once=off '
        'o.raw' % (INJECT % ('b.raw', 5, 'read')),
        'qemu-img compare b.raw o.raw',
        'qemu-img convert -n --target-image-opts b.raw '
        '%s,file.inject-error.0.sector=4097' % (INJECT % ('o.raw', 5,
                                                         'write')),
    ],
    'locks': BASE + [
        '=qemu-io -c "sleep 700" a.q & sleep 0.3; qemu-img info a.q; r=$?; '
        'wait; exit $r',
        '=qemu-io -c "sleep 700" a.q & sleep 0.3; qemu-img info -U a.q; r=$?;'
        ' wait; exit $r',
        '=qemu-io -c "sleep 700" a.q & sleep 0.3; qemu-img resize a.q +1M; '
        'r=$?; wait; exit $r',
        '~qemu-img check -U -r all a.q',
    ],
    'io-usage': [
        '~qemu-img create -q -f qcow2 t.q 8M',
        '~qemu-io -f qcow2 -c help t.q',
        io('t.q', 'help foo', 'foo', 'read', 'read 0', 'read a b', 'read 0 x',
           'read -P 300 0 512', 'read -P x 0 512', 'read -P 0 -s 513 0 512',
           'read -P 0 -l 513 0 512', 'read 0 3G', 'read 0 2G', 'read 9E 1',
           'read -C', 'write -u 0 64k', 'write -n 0 64k',
           'write -z -P 3 0 64k', 'write -zs f 0 1', 'write -c 100 100',
           'write -s nonexistent 0 512', 'writev 0', 'writev 0 x', 'readv 0',
           'readv 0 1G 1G', 'aio_read', 'aio_write -z 0 1 2',
           'aio_write -u 0 3', 'aio_flush foo', 'flush x', 'discard 0',
           'discard x 1', 'discard 0 4G', 'alloc', 'alloc x', 'alloc 0 x',
           'map x', 'truncate', 'truncate x', 'truncate -m bad 10M',
           'info x', 'sleep', 'sleep x', 'sigraise', 'sigraise x', 'break',
           'break a b', 'resume x', 'remove_break x', 'close x', 'quit'),
        'qemu-io -c "read 0 1"', 'qemu-io nonexistent', 'qemu-io -f bad t.q',
        'qemu-io -r t.q -c "write 0 512"', 'qemu-io -c "" t.q',
        "printf 'read 0 512\\nfoo\\n\\n  \\nquit\\nread 0 1' | qemu-io t.q",
        "printf 'read 0 512\\nread -P 5 0 512' | qemu-io t.q",
        "printf 'length\\n' | qemu-io", 'qemu-io t.q </dev/null',
    ],
    'io': [
        '~qemu-img create -q -f qcow2 t.q 8M',
        io('t.q', 'read -P 1 0 512', 'read -P 0 0 512', 'read -v 0 32',
           'read -vq 0 4', 'read -v 3 20', 'read -C 0 512', 'read 8M 512',
           'read 7M 2M', 'read 0 0', 'read -P 0 -s 10 -l 10 0 512',
           'read 0x200 0x200', 'read 1.5k 1K'),
        io('t.q', 'write 8M 512', 'write -P 1 0 3', 'write -z 0 64k',
           'write -zu 0 64k', 'write -zn 0 64k', 'write -f 0 64k',
           'write -q 0 512', 'write -C 0 512', 'write -Cq 0 512',
           'writev 0 512 1k', 'writev -P 5 0 512 512',
           'readv -P 5 0 512 512', 'readv -v 0 16 16', 'readv -P 6 0 512',
           'writev -C 0 512', 'writev 0 0', 'read -P 5 0 1k',
           'read -P 5 -s 1k -l 1k 0 2k'),
        io('t.q', 'aio_write -P 3 0 64k', 'aio_flush', 'aio_read -P 3 0 64k',
           'aio_flush', 'aio_read -P 4 0 512', 'aio_flush',
           'aio_write -z 0 64k', 'aio_flush', 'aio_write -zu 1M 64k',
           'aio_flush', 'aio_read 9M 512', 'aio_flush', 'aio_read -v 0 16',
           'aio_flush', 'aio_read -q 0 512', 'aio_read -C 0 512',
           'aio_flush', 'aio_write -i 0 512', 'aio_read -i 0 512'),
        io('t.q', 'flush', 'discard 0 64k', 'discard -q 0 64k',
           'discard -C 0 64k', 'discard 9M 1', 'discard 7M 5M',
           'discard 0 0', 'discard 3 5'),
        '~qemu-img create -q -f qcow2 t.q 8M',
        io('t.q', 'write 64k 64k', 'alloc 0', 'alloc 64k', 'alloc 0 256k',
           'alloc 64k 128k', 'alloc 9M', 'alloc 8M 1', 'alloc 7M 3M',
           'alloc 1', 'alloc 0 0', 'alloc 65537 3', 'map', 'length',
           'truncate 9M', 'length', 'truncate 1M', 'length', 'info'),
        io('t.q', 'close', 'read 0 512', 'open t.q', 'read 0 512',
           'open t.q', 'close', 'open nonexistent', 'open -r t.q',
           'write 0 512', 'close', 'open -o driver=qcow2,file.filename=t.q',
           'read 0 1', 'close', 'open', 'length', 'quit', 'read 0 1'),
        io('t.q', 'reopen -r', 'write 0 512', 'reopen -w', 'write 0 512',
           'reopen -rw', 'reopen -c none', 'reopen -c bad',
           'reopen -c writeback', 'read 0 512'),
        '~qemu-img create -q r.raw 1M',
        io('r.raw', 'write -P 65 0 1M', 'discard 64k 64k', 'map',
           'write -P 0x41 0 512', 'read -P 0x41 0 512', 'truncate 1024',
           'length', 'truncate -m full 2M', 'length', 'info',
           options='-f raw'),
        'qemu-img map r.raw',
        "printf abc > pattern; " +
        io('r.raw', 'write -s pattern 0 10', 'read -v 0 12',
           options='-f raw'),
        'qemu-io -n -f raw -c "read 0 1" -c "write 3 5" r.raw',
        'qemu-io -m -n -f raw -c "read 0 4k" -c "write 3 5" r.raw',
        'qemu-io -t writethrough -f raw -c "write 0 4k" r.raw',
        'qemu-io -i threads -f raw -c "write 0 4k" r.raw',
        'qemu-io -c length -c "sigraise 9" -f raw r.raw',
        'qemu-io -c length -c "sigraise 15" -f raw r.raw',
        '~qemu-io -c abort',
    ],
    'io-debug': [
        '~qemu-img create -q r.raw 8M', '~qemu-img create -q -f qcow2 t.q 8M',
        '=qemu-io --image-opts %s -c "break pwritev A" '
        '-c "aio_write -P 1 0 64k" -c "wait_break A" -c "resume A" '
        '-c aio_flush -c "resume A" -c "remove_break A" '
        '-c "break nonsense x"' % (BLKDEBUG % ('raw', 'r.raw')),
        '=qemu-io --image-opts %s -c "break write_aio A" '
        '-c "aio_write -P 1 0 64k" -c "wait_break A" -c "resume A" '
        '-c aio_flush -c "read -P 1 0 64k"' % (BLKDEBUG % ('qcow2', 't.q')),
        'qemu-io --image-opts %s -c "write 0 64k" -c "read 0 64k" '
        '-c "aio_write 0 64k" -c aio_flush -c "write 0 64k" '
        '-c "writev 0 512 512"' % (INJECT % ('r.raw', 28, 'write')),
    ],
}
SCENARIOS.update(peercompare.read_scenarios(os.path.join(
    os.path.dirname(os.path.realpath(__file__)), 'tools')))

FILTERS = [
    (r'; \d.* sec \(.*?/sec and .*? ops/sec\)', '; TIME'),
    (r'; \d+:\d\d:\d\d\.\d\d \(.*?/sec and .*? ops/sec\)', '; TIME'),
    (r'(\d+,1),\d+:\d\d:\d\d\.\d\d,[\d.]+,[\d.]+', r'\1,TIME'),
    (r'disk size: .*', 'disk size: SIZE'),
    (r'#block\d+', 'NODE'),
    (r' *\(\d+\.\d\d/100%\)\r', ''),
    (r'(.+) -- .*', r'\1 -- TEXT'),
    (r'(  \S+=<.*?> +)- .*', r'\1- TEXT'),
    (r'\[-rsCnkU\].*', 'ARGS'),
    (r'blkdebug: .*\n', ''),
    (r'bash: line \d+: +\d+ ', 'bash: '),
    (r'Aborted +.*', 'Aborted'), (r'Killed +.*', 'Killed'),
    (r'Terminated +.*', 'Terminated'),
]


def normal(text):
    return peercompare.normal(text, FILTERS)


def normal_json(text):
    """A parsed text, without sizes on disk; None where it is not JSON."""
    def clean(value):
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items()
                    if k != 'actual-size'}
        return [clean(v) for v in value] if isinstance(value, list) else value
    try:
        return clean(json.loads(text))
    except ValueError:
        return text


def run(line, folder, path):
    """(standard output, standard error, status) of @line."""
    env = dict(os.environ, PATH=path + ':' + os.environ['PATH'], LC_ALL='C')
    p = subprocess.run(['bash', '-c', line], cwd=folder, env=env, timeout=120,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       stdin=subprocess.DEVNULL)
    return (p.stdout.decode(errors='replace'),
            p.stderr.decode(errors='replace'), p.returncode)


def relevant(kind, result):
    """The part of @result that counts for a line of @kind."""
    out, err, status = result
    if kind == '~':
        return (status,)
    if kind == '{':
        return (normal_json(out), status)
    if kind == '=':
        return (normal(out), status)
    return (normal(out), normal(err), status)


def look(comparison, title, pattern, peer, ours):
    """@pattern: of our output, where it differs; None: it does not."""
    if peer == ours and pattern is not None:
        comparison.not_any_more(title)
    elif peer == ours or (pattern is not None and
                          re.search(pattern, '\n'.join(ours[:2]), re.M)):
        comparison.same(title)
    else:
        comparison.differs(title, *('\n'.join(str(r).rstrip() for r in side)
                                    for side in (peer, ours)))


def compare(comparison, name, lines, paths):
    with tempfile.TemporaryDirectory(prefix='tools-compare-') as top, \
            ThreadPoolExecutor(len(paths)) as pool:
        folders = [os.path.join(top, side) for side in ('peer', 'ours')]
        for folder in folders:
            os.mkdir(folder)
        for line in lines:
            pattern, command = peercompare.split_known(line)
            kind = ''
            if line[0] in '~={':
                kind, command = line[0], line[1:]
            look(comparison, '%s: %s' % (name, command), pattern,
                 *[relevant(kind, result) for result in
                   pool.map(run, (command, command), folders, paths)])


def main():
    tools = ('qemu-img', 'qemu-io')
    ours, peer, names = peercompare.command_line(__doc__, *tools)
    for tool in tools:
        if not shutil.which(tool, path=ours):
            sys.exit('no %s in %s: build it' % (tool, ours))
    comparison = peercompare.Comparison()
    if names and names[0] == 'half':
        names = list(SCENARIOS)[int(names[1]) - 1::2]
    for name in names or SCENARIOS:
        compare(comparison, name, SCENARIOS[name], (peer, ours))
    comparison.end('command lines')


if __name__ == '__main__':
    main()
