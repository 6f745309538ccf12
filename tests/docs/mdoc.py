# SPDX-License-Identifier: BSD-2-Clause
"""mdoc: the manuals under scripts/man as sections and list items, as far as the tests need them."""
import dataclasses
import pathlib
import re

TREE = pathlib.Path(__file__).resolve().parents[2]
FOLDER = TREE / "scripts/man"
PAGES = ("tollgate.8", "tollgate.yaml.5", "tollgate-admin.7", "tollgate-fastpath.7",
         "tollgate-metrics.7", "tollgate-redis.7", "tollgate-stripe.7")


@dataclasses.dataclass
class Item:
    """An .It line without its macro, and the lines up to the next .It, .Ss or .Sh."""

    section: str
    subsection: str
    head: str
    body: list


def lines(page):
    return (FOLDER / page).read_text(encoding="utf-8").splitlines()


def items(page, section=None, subsection=None):
    """The items of @page, or of one section or subsection of it."""
    found, here, below, item = [], "", "", None
    for line in lines(page):
        if line.startswith(".Sh "):
            here, below, item = line[4:], "", None
        elif line.startswith(".Ss "):
            below, item = line[4:], None
        elif line.startswith(".It "):
            item = Item(here, below, line[4:], [])
            found.append(item)
        elif item:
            item.body.append(line)
    return [i for i in found if section in (None, i.section)
            and subsection in (None, i.subsection)]


def words(page, macro):
    """What stands behind @macro, anywhere in @page, up to punctuation or the next macro."""
    found = []
    for line in lines(page):
        if line.startswith("."):
            for rest in re.findall(rf"(?:^\.| ){macro} ([^\n]*)", line):
                found += re.split(r" (?:[,.;)]|[A-Z][a-z]|Oo|Oc) ?", rest)[:1]
    return found


def literal_blocks(page, section):
    """The text of each .Bd -literal block in @section."""
    blocks, here, block = [], "", None
    for line in lines(page):
        if line.startswith(".Sh "):
            here = line[4:]
        elif line.startswith(".Bd -literal"):
            block = []
        elif line == ".Ed":
            if here == section and block is not None:
                blocks.append("\n".join(block))
            block = None
        elif block is not None:
            block.append(line)
    return blocks
