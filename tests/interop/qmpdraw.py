# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP commands that are drawn from a schema with a generator of random numbers:
arguments are mostly names of what is there, and now and then what is not.
"""
KIB, MIB = 1024, 1024 * 1024

# What is drawn, and how often; those without a monitor for people lack the rest.
COMMANDS = {
    'blockdev-add': 14, 'blockdev-del': 5, 'blockdev-reopen': 6,
    'blockdev-create': 2, 'block_resize': 3, 'blockdev-snapshot': 4,
    'blockdev-snapshot-sync': 3, 'blockdev-snapshot-internal-sync': 2,
    'blockdev-snapshot-delete-internal-sync': 2, 'blockdev-backup': 8,
    'blockdev-mirror': 6, 'drive-backup': 2, 'drive-mirror': 2,
    'block-commit': 6, 'block-stream': 5, 'change-backing-file': 2,
    'block-dirty-bitmap-add': 8, 'block-dirty-bitmap-remove': 2,
    'block-dirty-bitmap-clear': 2, 'block-dirty-bitmap-enable': 2,
    'block-dirty-bitmap-disable': 2, 'block-dirty-bitmap-merge': 4,
    'x-debug-block-dirty-bitmap-sha256': 2, 'transaction': 8,
    'job-cancel': 2, 'job-complete': 3, 'job-dismiss': 4, 'job-finalize': 3,
    'job-pause': 1, 'job-resume': 1, 'block-job-cancel': 2,
    'block-job-complete': 1, 'block-job-dismiss': 1, 'block-job-finalize': 1,
    'block-job-pause': 1, 'block-job-resume': 1, 'block-job-set-speed': 1,
    'block-export-add': 5, 'block-export-del': 2, 'nbd-server-start': 3,
    'nbd-server-stop': 1, 'nbd-server-add': 1, 'nbd-server-remove': 1,
    'block-set-write-threshold': 1, 'x-blockdev-change': 1,
    'x-blockdev-amend': 1, 'x-blockdev-set-iothread': 1, 'object-add': 1,
    'object-del': 1, 'query-block': 1, 'query-block-exports': 1,
    'query-block-jobs': 2, 'query-blockstats': 1, 'query-jobs': 1,
    'query-named-block-nodes': 4, 'x-debug-query-block-graph': 1,
    # machines only
    'block-latency-histogram-set': 1, 'block_set_io_throttle': 1, 'eject': 1,
    'blockdev-open-tray': 1, 'blockdev-close-tray': 1,
    'blockdev-insert-medium': 1, 'blockdev-remove-medium': 1,
    'blockdev-change-medium': 1,
}
ACTIONS = {
    'abort': 1, 'block-dirty-bitmap-add': 4, 'block-dirty-bitmap-remove': 2,
    'block-dirty-bitmap-clear': 3, 'block-dirty-bitmap-enable': 2,
    'block-dirty-bitmap-disable': 2, 'block-dirty-bitmap-merge': 3,
    'blockdev-backup': 5, 'blockdev-snapshot': 2, 'blockdev-snapshot-sync': 2,
    'blockdev-snapshot-internal-sync': 1, 'drive-backup': 1,
}
FORMATS = ('qcow2', 'raw', 'vmdk', 'vdi', 'vhdx', 'vpc')
DRIVERS = {
    'file': 10, 'qcow2': 12, 'raw': 8, 'null-co': 4, 'null-aio': 1,
    'throttle': 2, 'copy-on-read': 2, 'compress': 1, 'preallocate': 1,
    'copy-before-write': 2, 'snapshot-access': 1, 'blkdebug': 2, 'quorum': 1,
    'vmdk': 1, 'vdi': 1, 'vhdx': 1, 'vpc': 1, 'blkverify': 1,
    'luks': 1, 'host_device': 1,
}
# Members whose effect depends on time, on the host, or on how it is built.
NEVER = {'pr-manager', 'x-check-cache-dropped', 'drop-cache', 'aio',
         'aio-max-batch', 'locking', 'latency-ns', 'x-perf', 'iothread',
         'no-flush', 'tls-creds', 'tls-authz', 'cbw-timeout', 'max-connections',
         'cache-clean-interval', 'config', 'active', 'filter-node-name',
         'abstract', 'tight'}
# How likely members are that can be left out; others: one in ten.
LIKELY = {'node-name': 0.97, 'job-id': 0.9, 'bitmap': 0.5, 'read-zeroes': 0.9,
          'size': 0.5, 'granularity': 0.3, 'persistent': 0.5, 'device': 0.2,
          'auto-dismiss': 0.3, 'auto-finalize': 0.2, 'name': 0.7, 'base': 0.1,
          'backing': 0.4, 'read-only': 0.2, 'writable': 0.5, 'flat': 0.3,
          'base-node': 0.3, 'top-node': 0.3, 'speed': 0.1, 'query-nodes': 0.5,
          'snapshot-node-name': 0.8, 'properties': 0.3, 'force': 0.3}
NUMBERS = {
    'size': (0, 512, 64 * KIB, MIB, MIB, MIB, MIB + 512, 3 * MIB, 8 * MIB),
    'granularity': (512, 4 * KIB, 64 * KIB, 64 * KIB, MIB, 0, 1000, 256),
    'cluster-size': (512, 4 * KIB, 64 * KIB, 2 * MIB, 1000),
    'speed': (0, 0, 1, 1 << 40), 'offset': (0, 512, 4 * KIB, 64 * KIB, 100),
    'align': (512, 4 * KIB, 0, 1000), 'buf-size': (0, 64 * KIB, MIB),
    'vote-threshold': (1, 1, 2, 0, 5), 'write-threshold': (0, 64 * KIB, MIB),
    'refcount-bits': (1, 8, 16, 64, 3),
    'l2-cache-entry-size': (512, 4 * KIB, 64 * KIB, 1000),
    'event': (1, 2), 'iter-time': (10,),
}
ODD_NUMBERS = (-1, 0, 1, 511, (1 << 63) - 1, 1 << 63)


def weighted(rng, table):
    return rng.choices(list(table), list(table.values()))[0]


class Known:
    """What there is, as far as the answers told; names to choose from."""

    def __init__(self, files):
        self.files = files          # name: format
        self.nodes = {}             # name: how it was added
        self.bitmaps = ['b0']
        self.jobs = ['j0']
        self.exports = ['e0']
        self.objects = ['tg']
        self.drives = ['d0']
        self.serial = 0

    def learn(self, command, arguments):
        """It succeeded."""
        a = arguments or {}
        if command == 'blockdev-add' and 'node-name' in a:
            self.nodes[a['node-name']] = a
        elif command == 'blockdev-del':
            self.nodes.pop(a['node-name'], None)
        elif command == 'blockdev-reopen':
            self.nodes.update({o['node-name']: o for o in a['options']
                               if o.get('node-name') in self.nodes})
        elif command == 'block-dirty-bitmap-add':
            self.add(self.bitmaps, a['name'])
        elif command == 'block-export-add':
            self.add(self.exports, a['id'])
        elif command == 'transaction':
            for action in a['actions']:
                self.learn(action['type'], action['data'])
        if 'job-id' in a:
            self.add(self.jobs, a['job-id'])
        if 'snapshot-node-name' in a:
            self.nodes[a['snapshot-node-name']] = {
                'driver': a.get('format', 'qcow2')}

    @staticmethod
    def add(names, name):
        if name not in names:
            names.append(name)


class Draw:
    """Draws commands of @schema, as far as @ours has them."""

    def __init__(self, rng, schema, ours, known):
        self.rng, self.schema, self.known = rng, schema, known
        self.wild = 0.04        # how often a value makes no sense
        self.commands = {c: n for c, n in COMMANDS.items()
                         if c in schema.commands and c in ours.commands}

    def chance(self, p):
        return self.rng.random() < p

    def fresh(self, prefix):
        self.known.serial += 1
        return f'{prefix}{self.known.serial}'

    # Names

    def node(self, command=''):
        """A disk without content cannot become an image."""
        nodes = [n for n in self.known.nodes if command != 'blockdev-create' or
                 not self.is_null(n)]
        if not nodes or self.chance(self.wild):
            return self.rng.choice(('nosuch', 'd0', ''))
        return self.rng.choice(nodes[-6:])

    def is_null(self, node):
        """Is the driver "null-co" somewhere in @node, a name or options?"""
        if isinstance(node, str):
            node = self.known.nodes.get(node, {})
        return isinstance(node, dict) and (
            'null' in node.get('driver', '') or
            any(self.is_null(v) for k, v in node.items()
                if k in ('file', 'image', 'raw', 'test')))

    def new_node(self):
        return self.node() if self.chance(self.wild) else self.fresh('n')

    def file(self):
        return 'missing' if self.chance(self.wild) else \
            self.rng.choice(list(self.known.files))

    def one_of(self, names):
        return 'nosuch' if not names or self.chance(self.wild) else \
            self.rng.choice(names[-3:])

    def fresh_or(self, prefix, names):
        return self.one_of(names) if self.chance(0.15) else self.fresh(prefix)

    def name(self, command):
        """What a member "name" of @command is."""
        known = self.known
        if command == 'block-dirty-bitmap-add':
            return self.fresh_or('b', known.bitmaps)
        if 'bitmap' in command or command == 'blockdev-backup':
            return self.one_of(known.bitmaps)
        if 'internal' in command:
            return self.rng.choice(('s0', 's1'))
        return self.one_of(known.exports)

    def id(self, command):
        known = self.known
        if 'job' in command:
            return self.one_of(known.jobs)
        if command == 'block-export-add':
            return self.fresh_or('e', known.exports)
        if 'export' in command:
            return self.one_of(known.exports)
        if 'internal' in command:
            return self.rng.choice(('1', '2'))
        if command in ('object-add', 'object-del'):
            return self.one_of(known.objects + ['tg1'])
        return self.one_of(known.drives)

    def string(self, member, command):
        """A value for @member, a string."""
        known, rng = self.known, self.rng
        if self.chance(self.wild / 2):
            return rng.choice(('', 'nosuch', '1x', 'a b', 'x' * 40))
        if member == 'node-name':
            return self.new_node() if command == 'blockdev-add' or \
                command == 'drive-mirror' else self.node()
        if member == 'snapshot-node-name':
            return self.new_node()
        if member in ('device', 'node', 'overlay', 'base-node', 'top-node',
                      'bottom', 'replaces', 'parent', 'image-node-name') or \
                (member == 'target' and command != 'drive-backup' and
                 command != 'drive-mirror' and 'bitmap' not in command):
            if 'job' in command:
                return self.one_of(known.jobs)
            return self.node() if self.chance(0.95) else 'd0'
        if member in ('filename', 'base', 'top', 'backing-file', 'target',
                      'snapshot-file'):
            if 'bitmap' in command:
                return self.one_of(known.bitmaps)
            new = member in ('target', 'snapshot-file') and self.chance(0.8)
            return self.fresh('x') if new else self.file()
        return self.other(member, command)

    def other(self, member, command):
        known = self.known
        if member == 'name':
            return self.name(command)
        if member == 'id':
            return self.id(command)
        if member == 'job-id':
            return self.fresh_or('j', known.jobs)
        if member == 'bitmap':
            return self.one_of(known.bitmaps)
        if member == 'throttle-group':
            return self.one_of(known.objects)
        if member in ('format', 'backing-fmt'):
            return self.rng.choice(FORMATS)
        return {'path': 's.sock', 'key-secret': 'sec', 'child': 'children.1',
                }.get(member, 'nosuch')

    # Values

    def number(self, member):
        if self.chance(self.wild) and member != 'vote-threshold':
            return self.rng.choice(ODD_NUMBERS)
        return self.rng.choice(NUMBERS.get(member, (0, 1, 64 * KIB, MIB)))

    def enum(self, values, member, command):
        if member == 'driver':
            table = {d: n for d, n in DRIVERS.items() if d in values}
            if command == 'blockdev-create':
                table = {'qcow2': 2, 'file': 1}
            return weighted(self.rng, table)
        if member == 'type' and 'nbd' in values:
            return 'nbd'
        if member == 'type' and 'unix' in values:
            return 'unix'
        if member == 'qom-type':
            return self.rng.choice(('throttle-group', 'iothread'))
        if member == 'sync':
            return self.rng.choice(('full', 'full', 'top', 'none', 'bitmap',
                                    'incremental'))
        return self.rng.choice(values)

    def value(self, name, member, command, depth):
        e = self.schema.by_name[name]
        kind = e['meta-type']
        if kind == 'enum':
            values = e.get('values') or [m['name'] for m in e['members']]
            return 'nonsense' if self.chance(self.wild / 4) else \
                self.enum(values, member, command)
        if kind == 'array':
            count = self.rng.choice((1, 1, 2, 3, 0))
            return [self.value(e['element-type'], member, command, depth + 1)
                    for _ in range(count)]
        if kind == 'alternate':
            return self.alternate(e, member, command, depth)
        if kind == 'object':
            return self.object(e, command, depth)
        return self.builtin(e['json-type'], member, command)

    def builtin(self, kind, member, command):
        if self.chance(self.wild / 8):
            return self.rng.choice((1, 'x', None, [], {}))
        if kind == 'string':
            return self.string(member, command)
        if kind in ('int', 'number'):
            number = self.number(member)
            # How much a slow mirror copies before it waits is by chance.
            return 0 if member == 'speed' and number == 1 and \
                'mirror' in command else number
        return {'boolean': self.chance(0.5), 'null': None}.get(kind, 'any')

    def alternate(self, e, member, command, depth):
        """Mostly a name; null now and then where it can be."""
        kinds = {self.schema.by_name[m['type']].get('json-type', 'object'):
                 m['type'] for m in e['members']}
        if 'null' in kinds and self.chance(0.4):
            return None
        inline = 'object' in kinds and \
            self.schema.by_name[kinds['object']]['meta-type'] == 'object'
        if 'string' in kinds and (depth > 2 or not inline or self.chance(0.6)):
            return self.node(command)
        if inline and 'string' in kinds and self.chance(0.7):
            return {'driver': 'file', 'filename': self.file()}
        return self.value(kinds.get('object') or e['members'][0]['type'],
                          member, command, depth + 1)

    def object(self, e, command, depth):
        members = {m['name']: m for m in e.get('members', ())}
        result = {}
        if 'tag' in e and e['tag'] in members:
            tag = e['tag']
            result[tag] = self.value(members[tag]['type'], tag, command, depth)
        for name, m in members.items():
            optional = 'default' in m
            if name in result or name in NEVER or (optional and not self.chance(
                    LIKELY.get(name, 0.1) / (depth + 1))):
                continue
            if optional or not self.chance(self.wild / 8):
                result[name] = self.value(m['type'], name, command, depth + 1)
                if optional and result[name] == {}:
                    del result[name]    # the peer takes that for an option
        for v in e.get('variants', ()):
            if v['case'] == result.get(e['tag']):
                result.update(self.object(self.schema.by_name[v['type']],
                                          command, depth))
        return result

    # Commands

    def action(self):
        kind = weighted(self.rng, ACTIONS)
        variants = self.schema.by_name[self.schema.by_name[
            self.schema.members(self.schema.commands['transaction'][
                'arg-type'])['actions']['type']]['element-type']]['variants']
        wrapper = next(v['type'] for v in variants if v['case'] == kind)
        data = self.schema.members(wrapper)['data']['type']
        return {'type': kind, 'data': self.object(self.schema.by_name[data],
                                                  kind, 0)}

    def command(self):
        """(name, arguments) of the next one."""
        name = weighted(self.rng, self.commands)
        if name == 'transaction':
            arguments = {'actions': [self.action() for _ in range(
                self.rng.choice((1, 2, 2, 3)))]}
            if self.chance(0.3):
                arguments['properties'] = {
                    'completion-mode': self.rng.choice(('individual',
                                                        'grouped'))}
            return name, arguments
        if name == 'blockdev-add' and self.chance(0.5):
            return name, self.image()
        if name == 'blockdev-reopen':
            return name, {'options': [self.reopened()]}
        argument = self.schema.commands[name]['arg-type']
        return name, self.object(self.schema.by_name[argument], name, 0) or None

    def image(self):
        """Arguments of blockdev-add of a file in its own format."""
        name, fmt = self.rng.choice(list(self.known.files.items()))
        options = {'driver': fmt, 'node-name': self.fresh('n'),
                   'file': {'driver': 'file', 'filename': name}}
        if fmt == 'qcow2' and self.chance(0.4):
            options['backing'] = self.rng.choice((None, self.node()))
        if self.chance(0.2):
            options['discard'] = 'unmap'
        if self.chance(0.1):
            options['read-only'] = True
        return options

    def reopened(self):
        """Options of a node that is there, with changes."""
        name = self.node()
        options = dict(self.known.nodes.get(name, {'driver': 'raw'}))
        options['node-name'] = name
        e = self.schema.by_name[self.schema.commands['blockdev-add'][
            'arg-type']]
        options.update(self.object(dict(e, variants=[], tag='none',
                                        members=e['members'][2:]),
                                   'blockdev-reopen', 0))
        driver = options['driver']
        more = self.object(self.schema.by_name[next(
            v['type'] for v in e['variants'] if v['case'] == driver)],
            'blockdev-reopen', 0)
        changed = {k: v for k, v in more.items() if k not in options}
        if changed and self.chance(0.7):
            options.update(changed)
        for member in [k for k in options if k not in ('driver', 'node-name')]:
            if self.chance(0.1):
                options.pop(member)
            elif self.chance(0.1) and member in more:
                options[member] = more[member]
        if driver != 'qcow2':
            options.pop('backing', None)    # the peer's vmdk loses writes then
        return options
