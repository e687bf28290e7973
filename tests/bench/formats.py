# SPDX-License-Identifier: GPL-2.0-or-later
"""Image formats: qemu-img makes new images of one format from those of another,
encrypted and compressed ones too, and small pieces go to a data file."""
import os
import random
import subprocess
import time

MIB = 1 << 20
KEY = ("--object", "secret,id=s,data=secret")
FORMATS = ("raw", "qcow2", "vmdk")
FRAGMENT = 4096
LIMIT = "<= 1"


def timed(*command):
    before = os.times()
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return {"seconds": time.monotonic() - start,
            "cpu": after.children_user + after.children_system -
            before.children_user - before.children_system}


def make_half(path, size, packable=False):
    """Every other MiB is data, of which half can be compressed if @packable."""
    rng = random.Random(1)
    with open(path, "wb") as file:
        for at in range(0, size, 2 * MIB):
            data = rng.randbytes(MIB)
            if packable:
                data = b"".join(data[i:i + 2048] + data[i:i + 64] * 32
                                for i in range(0, MIB, 4096))
            file.seek(at)
            file.write(data)
        file.truncate(size)


def make_fragments(path, size):
    """Every other 4 KiB are data."""
    rng = random.Random(2)
    with open(path, "wb") as file:
        for at in range(0, size, 2 * FRAGMENT):
            file.seek(at)
            file.write(rng.randbytes(FRAGMENT))
        file.truncate(size)


class Bench:
    def __init__(self, report, args, scratch, tools):
        self.report, self.args, self.tools = report, args, tools
        self.scratch = scratch
        self.size = args.size_mib * MIB // 2
        self.target = self.path("target")

    def path(self, name):
        return os.path.join(self.scratch, "formats-" + name)

    def compare(self, title, prepare, words):
        """qemu-img with @words of both, after @prepare()."""
        def once(who):
            prepare()
            return timed(self.tools["img"][who], *words)
        once("ours")
        results = self.tools["in_turn"](self.args.pairs, once)
        for key, name in (("seconds", title), ("cpu", title + ", CPU")):
            self.report.add("formats", name, *self.tools["pick"](results, key),
                            "s", LIMIT if key == "seconds" else None)

    def convert(self, title, *words):
        def prepare():
            if os.path.exists(self.target):
                os.unlink(self.target)
        self.compare(title, prepare, ("convert", *words, self.target))

    def ours(self, *words):
        subprocess.run([self.tools["img"]["ours"], *words], check=True,
                       stdout=subprocess.DEVNULL)

    def between(self):
        sources = {f: self.path(f) for f in FORMATS}
        make_half(sources["raw"], self.size)
        for fmt in FORMATS[1:]:
            self.ours("convert", "-f", "raw", "-O", fmt, sources["raw"],
                      sources[fmt])
        for old in FORMATS:
            for new in FORMATS:
                if old != new:
                    self.convert(f"convert {old} -> {new}", "-f", old, "-O",
                                 new, sources[old])
        self.luks(sources["raw"])
        for path in sources.values():
            os.unlink(path)

    def luks(self, raw):
        """The keys are made before: what that takes is a time that is asked
        for."""
        disk = self.path("luks")
        opts = f"driver=luks,key-secret=s,file.filename={disk}"
        self.ours("create", "-q", *KEY, "-f", "luks", "-o",
                  "key-secret=s,iter-time=10", disk, str(self.size))
        self.compare("LUKS, write", lambda: None, (
            "convert", *KEY, "-n", "-f", "raw", "--target-image-opts", raw,
            opts))
        self.convert("LUKS, read", *KEY, "--image-opts", "-O", "raw", opts)
        os.unlink(disk)

    def compressed(self):
        """Less, as it takes long."""
        raw, packed = self.path("raw"), self.path("packed")
        make_half(raw, self.size // 4, packable=True)
        for kind in ("zlib", "zstd"):
            opts = ("-O", "qcow2", "-o", f"compression_type={kind}")
            self.ours("convert", "-c", "-f", "raw", *opts, raw, packed)
            self.convert(f"compressed qcow2, {kind}, write", "-c", "-f", "raw",
                         *opts, raw)
            self.convert(f"compressed qcow2, {kind}, read", "-f", "qcow2",
                         "-O", "raw", packed)
            os.unlink(packed)
        os.unlink(raw)

    def fragments(self):
        raw, data = self.path("raw"), self.path("data")
        make_fragments(raw, self.size // 4)
        for title, opts in (("qcow2", ()),
                            ("data file", ("-o", f"data_file={data}"))):
            self.convert(f"convert 4 KiB fragments, {title}",
                         "-f", "raw", "-O", "qcow2", *opts, raw)
        os.unlink(raw)
        os.unlink(data)
        os.unlink(self.target)

    def small_writes(self):
        """Writes of 4 KiB one after the other, and each in another cluster than
        the one before, one or 16 at once: to an image with a data file and to
        one without."""
        disk, data = self.path("disk"), self.path("data")
        count = self.size // FRAGMENT // 4
        for title, opts in (("qcow2", ()),
                            ("data file", ("-o", f"data_file={data}"))):
            def prepare(opts=opts):
                for path in (disk, data):
                    if os.path.exists(path):
                        os.unlink(path)
                self.ours("create", "-q", "-f", "qcow2", *opts, disk,
                          str(self.size))
            for order, step in (("sequential", FRAGMENT),
                                ("scattered", 17 * FRAGMENT)):
                for depth in (1, 16):
                    self.compare(
                        f"4 KiB writes, {title}, {order}, {depth}",
                        prepare, ("bench", "-w", "-f", "qcow2", "-s",
                                  str(FRAGMENT), "-S", str(step), "-d",
                                  str(depth), "-c", str(count), disk))
        for path in (disk, data):
            os.unlink(path)


def bench(report, args, scratch, tools):
    """@tools: programs by side, in_turn and pick of the caller."""
    b = Bench(report, args, scratch, tools)
    b.between()
    b.compressed()
    b.fragments()
    b.small_writes()
