# SPDX-License-Identifier: GPL-2.0-or-later
#
# Where the programs under test are: in the build folder of the source tree, or
# where Tidemark is installed.

import os
import shutil

HERE = os.path.dirname(os.path.realpath(__file__))


def installed():
    """The folder of the installed tidemark-img, or None."""
    found = shutil.which('tidemark-img')
    return os.path.dirname(os.path.realpath(found)) if found else None


def folder():
    """What BUILD_DIR says; else the tree's build folder, if it has programs;
    else where they are installed."""
    built = os.path.join(HERE, '../../build')
    if not os.path.exists(os.path.join(built, 'qemu-img')):
        built = installed() or built
    return os.environ.get('BUILD_DIR') or built
