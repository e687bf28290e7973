# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted disks: read, written and copied by qemu-img, and random requests of
an NBD client."""
import os
import subprocess
import time

MIB = 1 << 20
KEY = ("--object", "secret,id=s,data=secret")


def image_opts(fmt, path):
    key = "key-secret" if fmt == "luks" else "encrypt.key-secret"
    return f"driver={fmt},{key}=s,file.filename={path}"


def make(sh, fmt, path, size):
    """By ours: the peer's fails where the processor is busy."""
    options = "key-secret=s,iter-time=10"
    if fmt == "qcow2":
        options = ("encrypt.format=luks,encrypt.key-secret=s,"
                   "encrypt.iter-time=10")
    sh("create", "-q", *KEY, "-f", fmt, "-o", options, path, str(size))


def convert(program, *words):
    before = os.times()
    start = time.monotonic()
    subprocess.run([program, "convert", *KEY, *words], check=True)
    after = os.times()
    return {"seconds": time.monotonic() - start,
            "cpu": after.children_user + after.children_system -
            before.children_user - before.children_system}


def bench(report, args, scratch, tools):
    """@tools: programs by side, in_turn and pick of the caller."""
    size = args.size_mib * MIB // 2
    img = tools["img"]
    raw = os.path.join(scratch, "plain.raw")
    with open(raw, "wb") as file:
        for i in range(size // (4 * MIB)):
            file.write(i.to_bytes(8, "little") + os.urandom(4 * MIB - 8))

    def sh(*words):
        subprocess.run([img["ours"], *words], check=True)
    for fmt in ("luks", "qcow2"):
        disk, copy = (os.path.join(scratch, n + fmt) for n in ("a.", "b."))
        for path in (disk, copy):
            make(sh, fmt, path, size)
        ways = (
            ("write", ["-n", "-f", "raw", "--target-image-opts", raw,
                       image_opts(fmt, disk)]),
            ("read", ["-n", "--image-opts", image_opts(fmt, disk), "-O",
                      "raw", raw]),
            ("copy", ["-n", "--image-opts", "--target-image-opts",
                      image_opts(fmt, disk), image_opts(fmt, copy)]))
        for name, words in ways:
            convert(img["ours"], *words)        # touch the memory
            results = tools["in_turn"](args.pairs, lambda who, w=words:
                                       convert(img[who], *w))
            title = f"{fmt}, {name}"
            report.add("encrypted", title, *tools["pick"](results, "seconds"),
                       "s", "<= 1")
            report.add("encrypted", title + ", CPU",
                       *tools["pick"](results, "cpu"), "s", "<= 1")
        requests(report, args, scratch, tools, fmt, disk)
        os.unlink(disk)
        os.unlink(copy)
    os.unlink(raw)


def requests(report, args, scratch, tools, fmt, disk):
    key = ("key-secret=s" if fmt == "luks" else
           "encrypt.format=luks,encrypt.key-secret=s")

    def once(who):
        sock = os.path.join(scratch, f"enc-{who}.sock")
        daemon = tools["daemon"](
            who, *KEY, "--blockdev", f"driver={fmt},node-name=d,{key},"
            f"file.driver=file,file.filename={disk}", "--nbd-server",
            f"addr.type=unix,addr.path={sock}", "--export",
            "type=nbd,id=e,node-name=d,name=e,writable=on")
        result = tools["fio"](sock, args.fio_seconds)
        daemon.quit()
        return result
    results = tools["in_turn"](args.pairs, once)
    report.add("encrypted", f"{fmt}, random 4 KiB writes over NBD",
               *tools["pick"](results, "iops"), "op/s", ">= 1")
