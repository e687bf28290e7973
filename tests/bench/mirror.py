# SPDX-License-Identifier: GPL-2.0-or-later
"""Section `mirror` of the benchmarks: mirrors, the commit of an active image, and
the latency of a guest's writes meanwhile."""
import os
import statistics
import subprocess
import sys
import time

PEER_IMG = "/usr/bin/qemu-img"
CLUSTER = 65536


class Bench:
    """@tools: the module with the functions that all sections share."""

    def __init__(self, tools, report, args, scratch):
        self.tools = tools
        self.report = report
        self.args = args
        self.size = args.size_mib * tools.MIB
        self.scratch = scratch

    def path(self, name):
        return os.path.join(self.scratch, name)

    def run_job(self, daemon, command, arguments):
        """Until it has been completed."""
        tools = self.tools
        pid = daemon.process.pid
        before = tools.process_facts(pid)["cpu"]
        start = time.monotonic()
        daemon.command(command, {"job-id": "j", **arguments})
        event = daemon.wait_event(("BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED"),
                                  {"device": "j"})
        if event["event"] != "BLOCK_JOB_READY":
            sys.exit(f"{command} failed: {event['data']}")
        daemon.command("job-complete", {"id": "j"})
        end = daemon.wait_job("j")
        seconds = time.monotonic() - start
        facts = tools.process_facts(pid)
        if "error" in end:
            sys.exit(f"{command} failed: {end}")
        daemon.quit()
        return {"seconds": seconds, "cpu": facts["cpu"] - before,
                "peak": facts["peak"]}

    def mirror(self, who, *nodes, **arguments):
        daemon = self.tools.Daemon(self.tools.PROGRAMS[who], self.scratch,
                                   *nodes)
        return self.run_job(daemon, "blockdev-mirror", {
            "device": "src", "target": "dst", "sync": "full", **arguments})

    def add(self, name, results, limit):
        pick = self.tools.pick
        self.report.add("mirror", name, *pick(results, "seconds"), "s", limit)
        self.report.add("mirror", name + ", CPU", *pick(results, "cpu"), "s",
                        "<= 1")

    # --- to a file ---

    def full(self, fmt):
        tools = self.tools
        src, dst = self.path(f"msrc.{fmt}"), self.path(f"mdst.{fmt}")
        tools.make_source(src, fmt, self.size)

        def once(who):
            tools.make_target(dst, fmt, self.size)
            return self.mirror(who, *tools.node("src", fmt, src),
                               *tools.node("dst", fmt, dst))
        once("ours")
        results = tools.in_turn(self.args.pairs, once)
        self.add(f"full mirror {fmt}->{fmt}", results, "<= 0.5")
        self.report.add("mirror", f"full mirror {fmt}->{fmt}, peak memory",
                        *tools.pick(results, "peak"), "MiB", "<= 1")
        if fmt == "qcow2":
            self.by_bitmap(src, dst, tools.pick(results, "seconds")[0])
        os.unlink(src)
        os.unlink(dst)

    def by_bitmap(self, src, dst, full):
        """4 % of the disk, in scattered clusters; the target has the rest."""
        offsets = range(0, self.size - CLUSTER, 25 * CLUSTER)
        batch = [a for o in offsets for a in ("-c", f"write -q {o} 64k")]
        seconds = []
        for _ in range(self.args.pairs):
            self.tools.sh(PEER_IMG, "bitmap", "--add", src, "b")
            for i in range(0, len(batch), 2000):
                self.tools.sh("/usr/bin/qemu-io", "-f", "qcow2",
                              *batch[i:i + 2000], src)
            result = self.mirror(
                "ours", *self.tools.node("src", "qcow2", src),
                *self.tools.node("dst", "qcow2", dst), sync="bitmap",
                bitmap="b", **{"bitmap-mode": "on-success"})
            seconds.append(result["seconds"])
            self.tools.sh(PEER_IMG, "bitmap", "--remove", src, "b")
        mine, whole = statistics.median(seconds), statistics.median(full)
        self.report.note("mirror", "4 % scattered, by bitmap",
                         f"{mine:.4g} s; of a full mirror: "
                         f"{mine / whole:.3f} (wanted: <= 0.1)")

    # --- over NBD ---

    def over_nbd(self):
        tools = self.tools
        src, dst = self.path("nsrc.raw"), self.path("ndst.raw")
        sock = self.path("target.sock")
        tools.make_source(src, "raw", self.size)
        tools.make_target(dst, "raw", self.size)
        target = ["--blockdev", "driver=nbd,node-name=dst,server.type=unix,"
                  f"server.path={sock}"]

        def once(who):
            return self.mirror(who, *tools.node("src", "raw", src), *target)
        # The server keeps its buffers: where pages are dear, as in some virtual
        # machines, giving them back after each request is all that one measures.
        keep = {name: str(1 << 30) for name in ("MALLOC_MMAP_THRESHOLD_",
                                                "MALLOC_TRIM_THRESHOLD_")}
        server = subprocess.Popen(["/usr/bin/qemu-nbd", "-t", "-f", "raw", "-e",
                                   "8", "-k", sock, dst],
                                  env=dict(os.environ, **keep))
        try:
            while not os.path.exists(sock):
                time.sleep(0.01)
            once("ours")
            results = tools.in_turn(self.args.pairs, once)
            copies = [self.nbdcopy(src, sock) for _ in range(self.args.pairs)]
        finally:
            server.terminate()
            server.wait()
        self.add("full mirror to NBD", results, "<= 0.5")
        mine = statistics.median(tools.pick(results, "seconds")[0])
        other = statistics.median(copies)
        self.report.note("mirror", "nbdcopy to the same server",
                         f"{other:.4g} s; ours/nbdcopy: {mine / other:.3f} "
                         "(wanted: <= 1)")
        os.unlink(src)
        os.unlink(dst)

    def nbdcopy(self, src, sock):
        start = time.monotonic()
        self.tools.sh("nbdcopy", "--flush", src,
                      f"nbd+unix:///?socket={sock}")
        return time.monotonic() - start

    # --- the commit of an active image ---

    def active_commit(self):
        tools = self.tools
        low, top, full = (self.path(n) for n in ("low", "top", "full"))
        tools.make_source(full, "qcow2", self.size)

        def once(who):
            tools.make_target(low, "qcow2", self.size)
            os.rename(full, top)
            tools.sh(PEER_IMG, "rebase", "-u", "-f", "qcow2", "-b", low, "-F",
                     "qcow2", top)
            daemon = tools.Daemon(
                tools.PROGRAMS[who], self.scratch, "--blockdev",
                "driver=qcow2,node-name=l,read-only=on,file.driver=file,"
                f"file.filename={low}", "--blockdev",
                "driver=qcow2,node-name=t,backing=l,file.driver=file,"
                f"file.filename={top}")
            result = self.run_job(daemon, "block-commit", {"device": "t"})
            os.rename(top, full)
            return result
        once("ours")
        self.add("active commit", tools.in_turn(self.args.pairs, once),
                 "<= 1")
        os.unlink(low)
        os.unlink(full)

    # --- the guest ---

    def latency(self, mode):
        tools = self.tools
        path, dst = self.path("mlat.qcow2"), self.path("mlatdst.qcow2")
        tools.make_source(path, "qcow2", self.size)
        seconds = self.args.fio_seconds

        def once(who):
            tools.make_target(dst, "qcow2", self.size)
            daemon, sock = tools.nbd_daemon(who, self.scratch, path, 0,
                                            tools.node("dst", "qcow2", dst))
            daemon.command("blockdev-mirror", {
                "job-id": "j", "device": "d", "target": "dst", "sync": "full",
                "copy-mode": mode, "speed": self.size // (3 * seconds)})
            result = tools.fio(sock, seconds, depth=4)
            daemon.command("block-job-cancel", {"device": "j", "force": True})
            daemon.wait_job("j")
            daemon.quit()
            return result
        results = tools.in_turn(self.args.pairs, once)
        for key, what in (("p50", "median"), ("p99", "99th percentile")):
            self.report.add("mirror", f"guest write, {mode}, {what}",
                            *tools.pick(results, key), "us", "<= 1")
        os.unlink(path)
        os.unlink(dst)


def run(tools, report, args, scratch):
    bench = Bench(tools, report, args, scratch)
    for fmt in ("raw", "qcow2"):
        bench.full(fmt)
    bench.over_nbd()
    bench.active_commit()
    for mode in ("background", "write-blocking"):
        bench.latency(mode)
