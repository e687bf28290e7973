# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs that bitmaps survive kill -9 and losses of power.

The same writes on bitmaps of each level, in turn: ratios to the level `close`,
above 1 is faster.  `steady` is after a second, when regions are open; `clean`
begins with none; `sequential` opens regions ahead.  It takes about 4 minutes for
each of --pairs with --fio-seconds 2.
"""
import json
import os
import random
import statistics
import subprocess
import sys
import time

from daemon import ROOT, Daemon

sys.path.insert(0, os.path.join(ROOT, "tests/qemu-iotests"))

# pylint: disable=wrong-import-position
from nbdclient import NbdClient  # noqa: E402

MIB = 1 << 20
SIZE = 1024 * MIB
REGION = 16 * MIB
LEVELS = ("close", "process", "power")
WANTED = {"steady": ">= 0.97", "clean": ">= 0.80", "sequential": ">= 0.97"}
HUGE = 16 << 40


def start(prog, scratch, path, level, bitmaps, granularity=65536):
    sock = os.path.join(scratch, f"safety-{level}.sock")
    file = json.dumps({"driver": "qcow2", "node-name": "d",
                       "file": {"driver": "file", "filename": path}})
    daemon = Daemon(
        prog, scratch, "--blockdev", file, "--nbd-server",
        f"addr.type=unix,addr.path={sock}", "--export",
        "type=nbd,id=e,node-name=d,name=e,writable=on",
        env={**os.environ, "TIDEMARK_BITMAP_SAFETY": level})
    for i in range(bitmaps):
        daemon.command("block-dirty-bitmap-add", {
            "node": "d", "name": f"b{i}", "persistent": True,
            "granularity": granularity})
    return daemon, sock


def fio(sock, kind, depth, flush, seconds):
    args = ["fio", "--name=w", "--ioengine=nbd",
            f"--uri=nbd+unix:///e?socket={sock}", "--bs=4k",
            f"--iodepth={depth}", "--time_based", f"--runtime={seconds}",
            "--output-format=json", "--randrepeat=1", f"--size={SIZE}",
            "--rw=write" if kind == "sequential" else "--rw=randwrite"]
    if kind == "steady":
        args.append("--ramp_time=1")
    if flush:
        args.append("--fsync=32")
    text = subprocess.run(args, check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return json.loads(text[text.index("\n{"):])["jobs"][0]["write"]["iops"]


def one(prog, facts, scratch, path, level, what, seconds):
    """Operations per second, and in one second of the daemon's processor time;
    the image is as before afterwards, without bitmaps."""
    kind, bitmaps, depth, flush = what
    daemon, sock = start(prog, scratch, path, level, bitmaps)
    before = facts(daemon.process.pid)["cpu"]
    iops = fio(sock, kind, depth, flush, seconds)
    cpu = facts(daemon.process.pid)["cpu"] - before
    took = seconds + (kind == "steady")
    result = (iops, iops * took / max(cpu, 0.01))
    daemon.command("block-export-del", {"id": "e", "mode": "hard"})
    for i in range(bitmaps):
        daemon.command("block-dirty-bitmap-remove",
                       {"node": "d", "name": f"b{i}"})
    daemon.quit()
    return result


def ratios(report, prog, facts, folder, path, what, pairs, seconds):
    """Each level in turn, so that the machine's moods are even.  The second
    ratio is that of processor time: it depends less on what else runs."""
    results = {level: [] for level in LEVELS}
    for _ in range(pairs):
        for level in LEVELS:
            results[level].append(one(prog, facts, folder, path, level,
                                      what, seconds))
    median = {level: [statistics.median(column)
                      for column in zip(*results[level])] for level in LEVELS}
    base = median["close"]
    kind, bitmaps, depth, flush = what
    text = ", ".join(
        f"{level}/close {median[level][0] / base[0]:.3f} "
        f"({median[level][1] / base[1]:.3f})"
        for level in LEVELS[1:])
    report.note("bitmap-safety", f"{os.path.basename(folder).split('-')[0]} {kind}, "
                f"{bitmaps} bitmaps, depth {depth}"
                f"{', flushes' if flush else ''}",
                f"close {base[0]:8.0f} op/s, {text} (wanted: {WANTED[kind]})")


def first_writes(report, prog, folder, path):
    """The first write to each region, one at a time."""
    for level in LEVELS:
        daemon, sock = start(prog, folder, path, level, 1)
        client = NbdClient(sock, "e")
        offsets = [i * REGION for i in range(SIZE // REGION)]
        random.Random(1).shuffle(offsets)
        times = []
        for offset in offsets:
            begin = time.monotonic()
            client.write(offset + 4096, bytes(4096))
            times.append((time.monotonic() - begin) * 1e6)
        daemon.command("block-export-del", {"id": "e", "mode": "hard"})
        daemon.command("block-dirty-bitmap-remove", {"node": "d", "name": "b0"})
        daemon.quit()
        times.sort()
        report.note("bitmap-safety", f"{os.path.basename(folder).split('-')[0]} first "
                    f"write to a region, {level}",
                    f"median {times[len(times) // 2]:.0f} us, 99th percentile "
                    f"{times[len(times) * 99 // 100]:.0f} us")


def after_crash(report, prog, facts, scratch, img):
    """A disk of 16 TiB with 8 bitmaps, whose daemon was killed."""
    path = os.path.join(scratch, "huge.qcow2")
    subprocess.run([img, "create", "-q", "-f", "qcow2", path, str(HUGE)],
                   check=True)
    daemon, sock = start(prog, scratch, path, "power", 8)
    client = NbdClient(sock, "e")
    for i in range(200):
        client.write(random.Random(i).randrange(HUGE // 4096) * 4096,
                     bytes([1]) * 4096)
    begin = time.monotonic()
    daemon.command("block-dirty-bitmap-add", {
        "node": "d", "name": "late", "persistent": True})
    report.note("bitmap-safety", "16 TiB, 8 bitmaps: to add another",
                f"{time.monotonic() - begin:.3f} s")
    daemon.process.kill()
    daemon.process.wait()
    begin = time.monotonic()
    daemon, _ = start(prog, scratch, path, "power", 0)
    seconds = time.monotonic() - begin
    rest = facts(daemon.process.pid)
    report.note("bitmap-safety", "16 TiB, 8 bitmaps: open after a crash",
                f"{seconds:.3f} s, resident {rest['rss']:.0f} MiB, peak "
                f"{rest['peak']:.0f} MiB")
    daemon.quit()
    os.unlink(path)


def bench(report, args, folders, prog, img, facts, make_source):
    """`folders`: on tmpfs, and on the disk."""
    for folder in folders:
        path = os.path.join(folder, "safety.qcow2")
        make_source(path, "qcow2", SIZE)
        for flush, depth in ((False, 1), (False, 16), (True, 16)):
            for bitmaps in (1, 8):
                for kind in ("steady", "clean"):
                    ratios(report, prog, facts, folder, path,
                           (kind, bitmaps, depth, flush), args.pairs,
                           args.fio_seconds)
        for bitmaps in (1, 8):
            ratios(report, prog, facts, folder, path,
                   ("sequential", bitmaps, 16, False), args.pairs,
                   args.fio_seconds)
        first_writes(report, prog, folder, path)
        os.unlink(path)
    after_crash(report, prog, facts, folders[-1], img)
