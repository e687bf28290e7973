# SPDX-License-Identifier: GPL-2.0-or-later
#
# A quorum whose children are images of the runner's format, and what tests of
# it do to them.

import iotests
from iotests import MIB, new_image, qemu_io, scratch

SIZE = 4 * MIB


def make_children(count, size=SIZE, pattern=1):
    """Images c0.img ... that hold the same."""
    return [make_child(i, size, pattern) for i in range(count)]


def make_child(number, size=SIZE, pattern=1):
    path = new_image(f'c{number}.img', size, fmt=iotests.imgfmt)
    if pattern:
        qemu_io(path, f'write -P {pattern} 0 {size}')
    return path


def damage(number, offset, length, pattern=0x77):
    """Something changes a child that no program has open."""
    qemu_io(scratch(f'c{number}.img'),
            f'write -P {pattern} {offset} {length}')


def child_node(number, *errors, **options):
    """The node c0 ... of a child; `errors`: rules of a blkdebug over it."""
    node = iotests.image_node(f'c{number}', scratch(f'c{number}.img'),
                              **options)
    if errors:
        name = node.pop('node-name')
        node = {'driver': 'blkdebug', 'node-name': name, 'image': node,
                'inject-error': list(errors)}
    return node


def fails(iotype, **more):
    return {'event': 'none', 'iotype': iotype, **more}


def add_quorum(qsd, children, threshold, **options):
    qsd.cmd('blockdev-add', driver='quorum', node_name='q',
            children=children, vote_threshold=threshold, **options)


def edges(qsd):
    """The children of the quorum, by name of the edge."""
    graph = qsd.cmd('x-debug-query-block-graph')
    names = {n['id']: n['name'] for n in graph['nodes']}
    return {e['name']: names[e['child']] for e in graph['edges']
            if names[e['parent']] == 'q'
            and e['name'].startswith('children.')}


def check_same(numbers, content, what):
    """All of these children, which no program has open, hold this."""
    for number in numbers:
        path = scratch(f'c{number}.img')
        iotests.check_image(path)
        iotests.check_content(path, content, f'{what}: child {number}')
