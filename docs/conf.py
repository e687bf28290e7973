# SPDX-License-Identifier: GPL-2.0-or-later
"""Sphinx: `sphinx-build docs OUT`, or `sphinx-build -b man docs OUT`."""

project = "Tidemark"
author = "the Tidemark developers"
version = release = "0.1.0"
copyright = "the Tidemark developers"  # pylint: disable=redefined-builtin

root_doc = "index"
exclude_patterns = []
highlight_language = "none"
# QMP dialogues are JSON with -> and <- in front.
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "alabaster"
html_copy_source = False

man_pages = [
    (f"tools/{name}", name, about, "", 1) for name, about in (
        ("qemu-storage-daemon",
         "block devices, jobs and exports, driven over QMP"),
        ("qemu-img", "create, look at, convert and change disk images"),
        ("qemu-io", "read and write disk images by commands"))]
