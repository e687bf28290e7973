#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job by installed programs: a full backup, a change, an incremental one.

Uses nothing but Python's library and the programs tidemark-*; run by check-deb.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20


def tool(name, *args):
    subprocess.run([f"tidemark-{name}", *args], check=True,
                   stdout=subprocess.DEVNULL)


class Qmp:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                self.sock.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.file = self.sock.makefile("rw", encoding="utf-8")
        self.events = []
        json.loads(self.file.readline())
        self.cmd("qmp_capabilities")

    def read(self):
        line = self.file.readline()
        if not line:
            sys.exit("the daemon has ended")
        return json.loads(line)

    def cmd(self, command, **args):
        self.file.write(json.dumps({"execute": command, "arguments": args}))
        self.file.flush()
        while True:
            answer = self.read()
            if "event" not in answer:
                break
            self.events.append(answer)
        if "error" in answer:
            sys.exit(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def completed(self, job):
        while True:
            for event in self.events:
                if event["event"] == "BLOCK_JOB_COMPLETED" and \
                        event["data"]["device"] == job:
                    self.events.clear()
                    if "error" in event["data"]:
                        sys.exit(f"{job}: {event['data']['error']}")
                    return event["data"]
            self.events.append(self.read())


def node(name, path, **more):
    return {"driver": "qcow2", "node-name": name,
            "file": {"driver": "file", "filename": path}, **more}


def backup(qmp, target, **more):
    qmp.cmd("blockdev-add", **node(target, f"{target}.qcow2", backing=None))
    qmp.cmd("blockdev-backup", **{"job-id": target, "device": "disk",
                                  "target": target, **more})
    done = qmp.completed(target)
    qmp.cmd("blockdev-del", **{"node-name": target})
    return done["len"]


def main():
    os.chdir(tempfile.mkdtemp())
    tool("img", "create", "-q", "-f", "qcow2", "disk.qcow2", "64M")
    tool("io", "-c", "write -P 1 0 20M", "disk.qcow2")
    for name in ("full", "inc"):
        base = ["-b", "full.qcow2", "-F", "qcow2"] if name == "inc" else []
        tool("img", "create", "-q", "-f", "qcow2", *base, f"{name}.qcow2", "64M")
    daemon = subprocess.Popen(
        ["tidemark-storage-daemon", "--chardev",
         "socket,id=c,path=qmp.sock,server=on,wait=off", "--monitor", "c",
         "--blockdev", json.dumps(node("disk", "disk.qcow2"))])
    qmp = Qmp("qmp.sock")
    qmp.cmd("transaction", actions=[
        {"type": "block-dirty-bitmap-add",
         "data": {"node": "disk", "name": "b", "persistent": True}}])
    backup(qmp, "full", sync="full")
    qmp.cmd("quit")
    daemon.wait()
    tool("io", "-c", "write -P 2 3M 128k", "disk.qcow2")
    daemon = subprocess.Popen(
        ["tidemark-storage-daemon", "--chardev",
         "socket,id=c,path=qmp2.sock,server=on,wait=off", "--monitor", "c",
         "--blockdev", json.dumps(node("disk", "disk.qcow2"))])
    qmp = Qmp("qmp2.sock")
    copied = backup(qmp, "inc", sync="bitmap", bitmap="b",
                    **{"bitmap-mode": "on-success"})
    if copied != 128 * 1024:
        sys.exit(f"the increment has {copied} bytes")
    qmp.cmd("quit")
    daemon.wait()
    tool("img", "compare", "disk.qcow2", "inc.qcow2")
    tool("img", "check", "inc.qcow2")
    print("main job: full and incremental backup restored")


main()
