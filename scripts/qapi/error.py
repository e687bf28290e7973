# SPDX-License-Identifier: GPL-2.0-or-later
# The exception of the generator: an error in the schema, with its position.


class SchemaError(Exception):
    """A fault at a line of a schema file."""

    def __init__(self, where, message):
        super().__init__(message)
        self.where = where
        self.message = message

    def __str__(self):
        return f"{self.where}: {self.message}"


class Where:
    """A line of a file, and what is defined there."""

    def __init__(self, path, line, what=None):
        self.path, self.line, self.what = path, line, what

    def within(self, what):
        return Where(self.path, self.line, what)

    def __str__(self):
        place = f"{self.path}:{self.line}"
        return f"{place}: in {self.what}" if self.what else place
