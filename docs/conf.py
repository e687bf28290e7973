# SPDX-License-Identifier: GPL-2.0-or-later
"""Sphinx: `sphinx-build docs OUT`, or `sphinx-build -b man docs OUT`."""

import re

from docutils import nodes

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
html_theme_options = {"page_width": "1060px", "sidebar_width": "230px",
                      "description": "a block layer for disk images"}
html_sidebars = {"**": ["about.html", "searchbox.html", "navigation.html",
                        "relations.html"]}
html_copy_source = False

man_pages = [
    (f"tools/{name}", name, about, "", 1) for name, about in (
        ("qemu-storage-daemon",
         "block devices, jobs and exports, driven over QMP"),
        ("qemu-img", "create, look at, convert and change disk images"),
        ("qemu-io", "read and write disk images by commands"),
        ("qemu-nbd", "serves a disk image over NBD"),
        ("qemu-system-qtest", "a machine without processors"),
        ("tidemark", "backs up disks of virtual machines"))]

REFERENCE = "interop/qmp-reference"


def is_qmp_name(text):
    """Commands and types; not words that stand for other things, too."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]+", text) and \
        ("-" in text or text != text.lower())


def link_names(app, doctree, docname):
    """``NAME`` leads to the QMP reference where that has it."""
    labels = app.env.domaindata["std"]["anonlabels"]
    for node in list(doctree.findall(nodes.literal)):
        text = node.astext()
        if not is_qmp_name(text) or isinstance(node.parent, nodes.reference):
            continue
        event = text.isupper() and f"event-{text.lower()}"
        where = labels.get(event or text.lower())
        if where and where[0] == REFERENCE:
            uri = app.builder.get_relative_uri(docname, where[0])
            link = nodes.reference("", "", node.deepcopy(), internal=True,
                                   refuri=f"{uri}#{where[1]}")
            node.replace_self(link)


def setup(app):
    app.connect("doctree-resolved", link_names)
