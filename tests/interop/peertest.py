# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a script that compares our programs with the installed peer's, as a
test."""
import os
import subprocess
import sys

import iotests
from iotests import check, log, scratch

HERE = os.path.dirname(os.path.realpath(__file__))


def compare(script, programs, *peers, names=()):
    """@programs: ours, by the names that @script looks for; @peers: those that
    it needs; @names: of scenarios, all if there are none."""
    if iotests.TESTING_PEER:
        iotests.skip('the peer is as it is')
    iotests.require_peer(*peers)
    folder = scratch('programs')
    os.mkdir(folder)
    iotests.bitmaps_die_in_crashes()            # the peer's do
    for name, path in programs.items():
        os.symlink(os.path.realpath(path), os.path.join(folder, name))
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, script), folder,
         iotests.PEER_DIR, *names], stdout=subprocess.PIPE, text=True, check=False)
    check(done.returncode == 0, f'not as the peer:\n{done.stdout}')
    log('as the peer')
