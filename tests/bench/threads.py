# SPDX-License-Identifier: GPL-2.0-or-later
"""Two disks, each on an I/O thread, against both in one thread.

Clients and the daemon share the processors, so that what two threads can do at
once is not seen where there are two of these only; the processor time that one
operation costs the daemon is.
"""
import json
import os
import statistics
import subprocess
import time

from daemon import Daemon

DISKS = 2
POLLING = ("", ",poll-max-ns=0")
WAYS = [(n, poll) for poll in POLLING for n in (1, 2)]


def start(prog, scratch, node, paths, how):
    """`how`: the number of I/O threads, which the exports are in in turn, and
    what they are made with."""
    threads, options = how
    args, socks = [], os.path.join(scratch, "nbd-threads.sock")
    for i in range(threads):
        args += ["--object", f"iothread,id=t{i}{options}"]
    for i, path in enumerate(paths):
        args += node(f"d{i}", "qcow2", path)
    args += ["--nbd-server", f"addr.type=unix,addr.path={socks}"]
    for i in range(len(paths)):
        args += ["--export", f"type=nbd,id=e{i},node-name=d{i},name=e{i},"
                 f"writable=on,iothread=t{i % threads}"]
    return Daemon(prog, scratch, *args), socks


def fio(sock, name, rw, seconds):
    return subprocess.Popen(
        ["fio", "--name=w", "--ioengine=nbd",
         f"--uri=nbd+unix:///{name}?socket={sock}", f"--rw={rw}", "--bs=4k",
         "--iodepth=16", "--time_based", f"--runtime={seconds}",
         "--output-format=json", "--randrepeat=1", "--size=128m"],
        stdout=subprocess.PIPE, text=True)


def operations(process, rw):
    text = process.communicate()[0]
    result = json.loads(text[text.index("{"):])["jobs"][0]
    return result["read" if "read" in rw else "write"]["total_ios"]


def random_io(facts, daemon, sock, rw, seconds):
    """Operations per second of all disks, and microseconds of the daemon's
    processor time for each."""
    before = facts(daemon.process.pid)["cpu"]
    clients = [fio(sock, f"e{i}", rw, seconds) for i in range(DISKS)]
    total = sum(operations(client, rw) for client in clients)
    if daemon.process.poll() is not None:
        raise RuntimeError(f"{daemon.process.args[0]} ended by itself: "
                           f"{daemon.process.returncode}")
    cpu = facts(daemon.process.pid)["cpu"] - before
    return {"iops": total / seconds, "cpu": cpu * 1e6 / total}


def backups(facts, daemon, node_args, targets):
    """Seconds until the full backups of all disks are done, side by side."""
    for i, target in enumerate(targets):
        daemon.command("blockdev-add", node_args(f"g{i}", target))
    before, begin = facts(daemon.process.pid)["cpu"], time.monotonic()
    for i in range(DISKS):
        daemon.command("blockdev-backup", {
            "job-id": f"j{i}", "device": f"d{i}", "target": f"g{i}",
            "sync": "full"})
    for i in range(DISKS):
        daemon.wait_job(f"j{i}")
    seconds = time.monotonic() - begin
    return {"seconds": seconds,
            "cpu": facts(daemon.process.pid)["cpu"] - before}


def compare(report, name, one, two, unit, wanted):
    """`one`, `two`: lists of results with one and with two threads."""
    a, b = statistics.median(one), statistics.median(two)
    report.note("threads", name, f"one {a:.4g} {unit}, two {b:.4g} {unit}: "
                f"{b / a:.3f} (wanted: {wanted})")


ROWS = (
    ("randread", "iops", "op/s", "mean 1.7 where processors are free"),
    ("randread", "cpu", "us/op of the daemon", "<= 1.05"),
    ("randwrite", "iops", "op/s", "mean 1.7 where processors are free"),
    ("randwrite", "cpu", "us/op of the daemon", "<= 1.05"),
    ("backup", "seconds", "s", "<= 1"),
    ("backup", "cpu", "s of the daemon", "<= 1.05"),
)


def tell(report, results):
    """`results`: lists of what was measured, by program and way."""
    for who in dict.fromkeys(who for who, _ in results):
        for poll in POLLING:
            one, two = (results[who, (n, poll)] for n in (1, 2))
            for what, key, unit, wanted in ROWS if one and two else ():
                compare(report, f"{who}{poll or ', polling'}: {what}",
                        [r[what][key] for r in one],
                        [r[what][key] for r in two], unit, wanted)
