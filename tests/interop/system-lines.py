# SPDX-License-Identifier: GPL-2.0-or-later
#
# Command lines of the machine, valid and invalid, with the same output as the
# installed peer, word for word. Lines with intended differences (other devices,
# no processors, no network) are not here; see system-command-lines.

OFTEN = 'abcdefghijklmnopqrstuvwxyz' * 5

# Options that want an argument, given without.
ALONE = '''machine accel name m smp object chardev mon qmp monitor serial blockdev
    drive hda device global set incoming display sandbox msg trace pidfile
    readconfig action add-fd netdev kernel'''.split()

# What no program of this kind knows.
UNKNOWN = ['-foo', '--foo', '-Hda', '-nodefault', '-qmp=stdio', '-S1', '-',
           '--', '-machine=q35', '-blockdev=x']

# Option: its values; a tuple holds more arguments than one.
VALUES = {
    'machine': ['foo', 'type=foo', '', 'q35', 'type=q35', 'pc', 'none',
                'q35,accel', '=x', 'q35,', 'q35,usb=maybe', 'q35,usb=off',
                'q35,accel=foo'],
    'name': ['a', 'guest=a', 'a,b=c', 'guest=a,process=b,x=y', '=',
             'a,debug-threads=maybe', 'a,debug-threads=on',
             'a,debug-threads'],
    'uuid': ['', 'x', '123', '12345678-1234-1234-1234-123456789abc',
             '12345678-1234-1234-1234-123456789ABG',
             '12345678-1234-1234-1234-12345678ABC'],
    'm': ['', '64', '64M', 'size=64', 'x', '-1', '1x', 'size=', '1.5', '0x',
          '64,slots=x', '64,foo=1', '64,maxmem=x', '64,slots=1',
          '64,maxmem=1M', 'maxmem=2G', '99999999999999999999'],
    'smp': ['', '1', '2', 'cpus=2', '2,sockets=2', '2,cores=2,threads=1',
            'x', 'cpus=x', 'cpus=', '1,foo=1', '1.5', '=', 'cores=x', '0',
            'maxcpus=4', '99999999999999999999'],
    'object': ['foo', 'foo,id=x', 'iothread', 'iothread,id=x', 'qom-type=',
               'iothread,id=', 'iothread,id=1', 'id=x', '', '{', '{}',
               'qom-type=iothread', '{"qom-type":"iothread"}',
               '{"qom-type":"iothread","id":1}', 'secret,id=s,data=abc',
               '{"qom-type":"iothread","id":"a","x":1}', 'throttle-group',
               'throttle-group,id=t', 'secret,id=s,data=a,format=xx',
               ('iothread,id=x', '-object', 'iothread,id=x')],
    'chardev': ['foo', 'foo,id=x', 'null', 'null,id=', 'null,id=1x',
                'null,id=x', 'null,id=a b', 'null,id=x,foo=1', 'id=x', '',
                'null,id=x,path=y', 'backend=null,id=x', 'file,id=x',
                'file,id=x,path=', 'file,id=x,path=/nonexistent/x',
                'file,id=x,path=/nonexistent/x,append=maybe', 'vc,id=x',
                'pipe,id=x', 'pipe,id=x,path=/nonexistent', 'socket,id=x',
                'socket,id=x,path=/nonexistent/s', 'null,id=x,mux=maybe',
                'socket,id=x,path=/nonexistent/s,server=on,wait=off',
                'socket,id=x,path=/nonexistent/s,server,nowait',
                'socket,id=x,host=localhost', 'socket,id=x,port=1',
                'socket,id=x,host=localhost,port=1', 'socket,id=x,fd=99',
                'socket,id=x,host=localhost,port=x', 'socket,id=x,fd=foo',
                'socket,id=x,path=/a,host=b,port=1', 'tty,id=x,path=/nope',
                'socket,id=x,path=/nonexistent/s,server=maybe',
                'socket,id=x,path=/nonexistent/s,wait=on', 'serial,id=x',
                'socket,id=x,path=/nonexistent/s,server=on,reconnect=1',
                'socket,id=x,path=/nonexistent/s,reconnect=x',
                'socket,id=x,path=' + OFTEN + ',server=on,wait=off',
                'socket,id=x,path=s,server=on,wait=off,tls-creds=foo',
                'null,id=x,nofoo', 'null,idx=x', 'stdio,id=x',
                ('null,id=x', '-chardev', 'null,id=x'),
                ('null,id=x', '-mon', 'x', '-mon', 'x'),
                ('null,id=x', '-mon', 'x,mode=foo'),
                ('null,id=x', '-mon', 'x,foo=1'),
                ('null,id=x', '-mon', 'chardev=y'),
                ('null,id=x', '-mon', 'x,mode=control,pretty'),
                ('null,id=x', '-mon', 'x,mode=control,pretty=maybe'),
                ('null,id=x', '-mon', 'chardev=x,pretty=on'),
                ('null,id=x', '-mon', 'chardev=x,id=1'),
                ('null,id=x', '-set', 'chardev.x.foo=1')],
    'mon': ['x', 'chardev=x', '', 'mode=control', 'x,foo=1'],
    'qmp': ['foo', '', 'unix:', 'unix:/nonexistent/s', 'unix', 'null',
            'unix:/nonexistent/s,server,nowait', 'none', 'stdio:',
            'unix:/nonexistent/s,server=on,wait=off', 'none,x',
            'unix:/nonexistent/s,foo=1', 'unix:/nonexistent/s,server=maybe',
            'unix:path=/nonexistent/s', 'tcp', 'tcp:', 'tcp:localhost',
            'tcp:localhost:1', 'tcp:localhost:x', 'tcp:localhost:1,foo=1',
            'file:', 'file:/nonexistent/x', 'pipe:', 'pipe:/nonexistent',
            'chardev:', 'chardev:nosuch', 'stdio,foo=1', 'null,foo', 'mon:',
            'mon:foo', 'con:', 'vc', 'vc:foo', 'vc:80Cx24C', 'COM1', 'pty:',
            '/dev/nonexistent', '/nonexistent', 'fd:1', 'telnet:', 'udp:'],
    'qmp-pretty': ['foo', 'unix:/nonexistent/s', 'null'],
    'monitor': ['foo', 'none', 'nonesuch', 'null', 'tcp:localhost:x',
                'unix:/nonexistent/s,server,nowait'],
    'serial': ['none', 'null', 'foo', 'chardev:x', 'tcp:localhost:1',
               'file:/nonexistent/x'],
    'parallel': ['none', 'null', 'foo', 'chardev:x'],
    'global': ['foo', '', '=', 'foo.bar', 'foo.bar=1', 'foo=bar', '.x=1',
               'x.=1', 'driver=foo,property=bar,value=1',
               'driver=scsi-hd', 'driver=scsi-hd,property=serial',
               'scsi-hd.serial=a', 'scsi-hd.nosuch=a',
               'driver=scsi-hd,property=serial,value=a,foo=1'],
    'set': ['foo', 'foo.bar', 'foo.bar.baz', 'foo.bar.baz=1', '', '=', '...=',
            'drive.x.y=1', 'device.x.y=1', 'chardev.x.path=1', 'a.b.c.d=1',
            'object.x.y=z', 'machine.x.y=z', 'drive..=',
            ('drive.x.y=1', '-drive', 'if=none,id=x')],
    'drive': [('if=none,id=x', '-set', 'drive.x.foo=1'),
              ('if=none,id=x', '-set', 'drive.x.file=/nonexistent')],
    'incoming': ['foo', '', 'tcp', 'tcp:', 'tcp:localhost', 'unix', 'unix:',
                 'fd:', 'fd:x', 'defer', 'defer,', 'defer=1',
                 ('defer', '-incoming', 'defer')],
    'display': ['none', 'foo', '', 'none,', 'none,x=1', 'sdl,foo'],
    'vga': ['none', 'foo', '', 'none,x', 'std,retrace=foo'],
    'boot': ['', 'c', 'order=c', 'foo', 'order=z', 'order=cc', 'foo=1',
             'once=q', 'menu=maybe', 'menu=on', 'splash-time=x', 'c,foo',
             'reboot-timeout=-2', 'reboot-timeout=65536'],
    'rtc': ['', 'base=utc', 'base=foo', 'clock=foo', 'driftfix=foo', 'foo',
            'foo=1', 'base=2020-01-01', 'base=2020-01-01T00:00:00'],
    'sandbox': ['', 'off', 'foo', 'enable', 'on,foo=1', 'on,obsolete=foo',
                'on,elevateprivileges=foo', 'on,spawn=foo', 'on,obsolete',
                'off,foo=1', 'off,obsolete=foo', 'enable=maybe'],
    'msg': ['', 'timestamp=off', 'timestamp', 'timestamp=maybe', 'on', 'foo',
            'timestamp=on,foo=1', 'guest-name=maybe', 'timestamp=',
            ('guest-name=on', '-name', 'n', '-device', 'nosuch')],
    'trace': ['foo', '', 'nosuch*', '-nosuch', 'enable=foo', 'foo=1',
              'events=/nonexistent', 'file=/nonexistent/x'],
    'D': ['', '/nonexistent/log', 'log.%d%d', 'log.%s'],
    'overcommit': ['', 'foo', 'mem-lock=maybe', 'cpu-pm=maybe', 'foo=1'],
    'pidfile': ['', '/nonexistent/pid', 'pid'],
    'readconfig': ['', '/nonexistent', '/dev/null', '/etc/passwd', '/tmp',
                   'good.cfg'],
    'action': ['', 'foo', 'reboot', 'reboot=foo', 'shutdown=foo',
               'panic=foo', 'watchdog=foo', 'foo=1',
               'reboot=shutdown,shutdown=pause', 'panic=none'],
    'add-fd': ['', 'foo', 'fd=1', 'set=1', 'fd=99,set=1', 'fd=x,set=1',
               'fd=0,set=x', 'fd=0,set=-1', 'fd=-1,set=1', 'set=1,fd=',
               'fd=0,set=1,foo=1', 'fd=0,set=1,opaque'],
    'blockdev': ['', 'foo', 'driver=foo', 'foo=1', 'null-co', 'help',
                 'null-co,node-name=n', 'null-co,node-name=',
                 'null-co,node-name=1', 'null-co,node-name=a b',
                 'null-co,node-name=n,foo=1', 'file,node-name=n',
                 'file,node-name=n,filename=/nonexistent',
                 'raw,node-name=n', 'raw,node-name=n,file=y',
                 'null-co,node-name=n,read-only=maybe', '{', '{}',
                 '{"driver":"null-co"}', '{"driver":1}',
                 '{"driver":"null-co","node-name":1}',
                 '{"driver":"null-co","node-name":"n","a":1}',
                 'null-co,node-name', 'null-co,node-name=n,discard=foo',
                 ('null-co,node-name=n', '-blockdev',
                  'null-co,node-name=n')],
}

# Flags, alone and together.
FLAGS = [['-no-shutdown'], ['-no-reboot'], ['-no-user-config'],
         ['-no-shutdown', '-no-reboot', '-S'], ['--S'], ['--name', 'x'],
         ['-nographic', '-monitor', 'none']]

FILES = {
    'good.cfg': '# disks\n[chardev "c0"]\n  backend = "null"\n\n'
                '[name]\n  guest = "from a file"\n',
}

ALL = [['-' + name] for name in ALONE] + [[word] for word in UNKNOWN] + FLAGS
for _name, _values in VALUES.items():
    for _value in _values:
        ALL.append(['-' + _name, *([_value] if isinstance(_value, str)
                                   else _value)])
