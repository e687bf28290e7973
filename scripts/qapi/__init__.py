# SPDX-License-Identifier: GPL-2.0-or-later
# The QAPI code generator: schema in, C and documentation out.
