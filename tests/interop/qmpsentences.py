# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of QMP commands that differ from the peer's: which sentence of ours may
stand where the peer says which one.
"""
import re

# What ours looks at before it looks for what the other side names below.
MIRROR_FIRST = (
    "must provide a valid bitmap name for .*|Can't mirror node into itself|"
    "Source and target image have different sizes|Failed to get LOCK|"
    "cannot replace image with a mirror image of different size|"
    "Permission conflict|Invalid job ID .*|Job ID .* already in use|"
    "Parameter 'granularity' .*|Failed to find node with node-name=.*")
REOPEN_FIRST = (
    "Cannot change the option .*|backing is missing for .*|"
    "Node .* cannot have its '.*' child changed to node .*|"
    "Node .* cannot have the data of its '.*' child replaced|"
    "Node .* is used: it cannot show another part of its child|"
    "Some option cannot be reset to its default value|"
    "Making '.*' a file child of '.*' would create a cycle")
NOT_ITS_FORMAT = (
    r"Image is not in (VHDX|VDI|VPC|qcow2) format|Volume is not in LUKS format|"
    r"VMDK descriptor of \d+ bytes is too large or outside of the file|"
    r"VMDK descriptor has no valid createType")
LIMITS = (
    'the burst length cannot be 0|iops size requires .*|bps/iops/max .*|'
    'bps_max/iops_max .*|burst length set without burst rate')
INTERNAL = 'transaction|blockdev-snapshot-(internal|delete-internal)-sync'

# The command, the peer's sentence, ours, and the name of the difference.  Each is
# all of the text.
SENTENCES = [
    ('(drive|blockdev)-mirror', "Sync mode '(bitmap|incremental)' not supported",
     MIRROR_FIRST, 'mirror-bitmaps'),
    ('drive-mirror',
     'Format driver .* does not support image creation|Duplicate nodes .*|'
     'Backing file not supported for file format .*|Invalid node-name.*|'
     'Could not open .*: No such file or directory|Failed to get LOCK',
     MIRROR_FIRST, 'mirror-refused-early'),
    ('(drive|blockdev)-mirror',
     'Cannot replace .* by a node mirrored from .*|'
     'Node .* is busy: node is used as backing hd of .*|'
     'Block node is read-only|Permission conflict', MIRROR_FIRST,
     'order-of-checks'),
    ('blockdev-mirror', 'Need a root block node',
     'Cannot find device=.* nor node-name=.*', 'order-of-checks'),
    ('block-commit', "Node .* is busy: .*|Can't mirror node into itself|"
     "'backing-file' specified, but 'top' is the active layer",
     'cannot commit an image into itself', 'order-of-checks'),
    ('block-dirty-bitmap-add|transaction',
     r"Can't store persistent bitmaps to \S+: Operation not supported",
     r"Can't store persistent bitmaps to \S+: Operation not supported: a node "
     r"of driver 'tracked' over it can, .*", 'bitmap-to-store'),
    ('block-dirty-bitmap-add|transaction',
     "Can't make bitmap .* persistent in .*",
     r"Can't store persistent bitmaps to \S+: node is read-only",
     'bitmap-of-read-only'),
    ('block_resize', r"Device '.*' is in use|Failed to get LOCK",
     'Image is read-only', 'order-of-checks'),
    ('blockdev-del', r'Node \S+ is in use',
     r"Block device \S+ is in use|"
     r"Node '.*' is busy: block device is in use by block job: (mirror|commit)",
     'other-words'),
    ('blockdev-(add|reopen|create)',
     r"Could not open .*: Invalid argument|Image not in VDI format .*|"
     r"Unsupported VDI image size .*|invalid VPC image|"
     r"invalid VMDK image descriptor|"
     r"Parameter 'key-secret' is required for cipher",
     NOT_ITS_FORMAT, 'other-words'),
    ('blockdev-add', 'Could not read .* header: Operation not supported',
     'Node .* is no copy-before-write filter: .*', 'snapshot-access-of'),
    ('blockdev-add', "Parameter 'key-secret' is required for cipher|"
     f'{NOT_ITS_FORMAT}', 'Permission conflict|Block node is read-only|Failed to get LOCK',
     'order-of-checks'),
    ('blockdev-add', 'Permission conflict', NOT_ITS_FORMAT, 'order-of-checks'),
    ('blockdev-mirror', 'Node .* is busy: node is used as backing hd of .*',
     'Block node is read-only', 'order-of-checks'),
    ('block-export-add', 'NBD server not running',
     'Failed to get LOCK|Permission conflict', 'order-of-checks'),
    ('object-add', LIMITS, LIMITS, 'order-of-checks'),
    ('blockdev-create', 'Could not write qcow2 header: .*',
     'Could not write the qcow2 image: .*', 'other-words'),
    ('blockdev-create',
     'Could not resize image: Failed to resize underlying file: '
     "Preallocation can't be used for shrinking an image",
     "Preallocation can't be used for shrinking an image", 'other-words'),
    ('blockdev-create', "Device '.*' has no medium",
     'Backing format cannot be used without backing file', 'order-of-checks'),
    ('blockdev-create', 'Permission conflict',
     'Cluster size must be a power of two .*', 'order-of-checks'),
    ('blockdev-add', "Block protocol .* doesn't support the option .*",
     'Block node is read-only', 'order-of-checks'),
    ('blockdev-add', 'Image is not in .* format', 'Failed to get LOCK',
     'order-of-checks'),
    ('blockdev-reopen', 'No encryption in image header, but options .*',
     "Cannot change the option 'encrypt.*'", 'other-words'),
    ('blockdev-reopen',
     'backing is missing for .*|Cannot change the option .*|'
     'Some option cannot be reset to its default value|'
     'L2 cache entry size must be .*|setting detect-zeroes to unmap .*|'
     "Block format '.*' used by node '.*' does not support reopening files|"
     "Block node is read-only|Cannot find device='' nor node-name=''|"
     'The sum of offset .* has to be smaller or equal .*',
     REOPEN_FIRST, 'order-of-checks'),
    ('blockdev-create', 'Duplicate nodes .*',
     'Failed to get LOCK|Backing format cannot be used without backing file',
     'order-of-checks'),
    ('blockdev-create', 'Permission conflict|Failed to get LOCK',
     'The data file must be another file than the image', 'order-of-checks'),
    ('blockdev-create', 'Block node is read-only',
     "Parameter 'encrypt.key-secret' is required for cipher",
     'order-of-checks'),
    ('blockdev-create', 'Could not resize file: (Invalid argument|File too large)',
     'Size of .* is too large', 'other-words'),
    ('blockdev-snapshot', 'The overlay does not support backing images',
     'The overlay is already in use', 'order-of-checks'),
    ('blockdev-snapshot', 'Filters cannot be used as overlays',
     'The overlay does not support backing images', 'order-of-checks'),
    ('blockdev-create', 'Could not resize image: Image size cannot be negative',
     'The image size is too large for file format .*', 'other-words'),
    ('blockdev-create', 'Image is not in .* format',
     'Image format driver does not support resize', 'order-of-checks'),
    ('blockdev-snapshot-sync|drive-backup', 'backing_file must be a vmdk image',
     'Failed to get LOCK|Quotes and line ends cannot be stored in a VMDK '
     'descriptor', 'order-of-checks'),
    ('object-add', LIMITS, 'attempt to add duplicate property .*',
     'order-of-checks'),
    ('blockdev-add', 'Failed to get LOCK',
     "'data-file' can only be set for images with an external data file",
     'order-of-checks'),
    ('block-dirty-bitmap-add',
     r"Can't store persistent bitmaps to \S+: Operation not supported",
     'Bitmap already exists: .*', 'order-of-checks'),
    ('blockdev-create',
     'Could not resize image: Failed to resize underlying file: '
     "Preallocation can't be used for shrinking an image",
     "Parameter 'encrypt.key-secret' is required for cipher",
     'order-of-checks'),
    (INTERNAL, 'Failed to create snapshot .*: Invalid argument',
     'Failed to create snapshot .*: Refcount of cluster .* would exceed .*',
     'other-words'),
    ('change-backing-file',
     '.* and image file are not in the same chain|Need a root block node|'
     'Could not change backing file to .*: Operation not supported',
     'not allowing backing file change on an image without a backing file',
     'order-of-checks'),
    ('drive-backup', "Block format .* does not support the option 'backing.*'",
     'Quotes and line ends cannot be stored in a VMDK descriptor',
     'order-of-checks'),
    ('drive-backup', 'Node .* is busy: .*', 'Bitmap .* could not be found',
     'order-of-checks'),
]


def of_one_mistake(text, peer, ours):
    """The name of the difference between two sentences about the command of
    @text; None: they are not to differ."""
    texts = text.split(' ', 1)[0], peer, ours
    return next((name for *patterns, name in SENTENCES if all(
        re.fullmatch(p, t, re.S) for p, t in zip(patterns, texts))), None)
