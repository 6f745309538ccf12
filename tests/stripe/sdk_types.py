# SPDX-License-Identifier: BSD-2-Clause
"""sdk_types: reads the TypeScript declarations of npm's `stripe`: Stripe's own description of its API.

One package pins one API version. Declarations are generated, so a small parser is enough; whatever it does
not understand is an error. Two layouts exist: up to 18 one module 'stripe' with a namespace for each family
(types/), and later one module for each resource (esm/resources/).

    python3 sdk_types.py DIR...     writes accepted.txt and members.txt; see accepted.py and members.py
"""
import os
import re
import sys

TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"[^"]*"|=>|\.\.\.|[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*"""
                   r"""|-?\d+(?:\.\d+)?|[{}()\[\]<>|&;:?,=*]""")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


BOOLEANS = {"true": True, "false": False}


class Tokens:
    def __init__(self, text):
        self.items = TOKEN.findall(COMMENT.sub(" ", text))
        self.at = 0

    def peek(self, ahead=0):
        place = self.at + ahead
        return self.items[place] if place < len(self.items) else ""

    def take(self, wanted=None):
        token = self.peek()
        if wanted is not None and token != wanted:
            raise SyntaxError(f"{token!r} instead of {wanted!r}, after {self.items[self.at - 12:self.at]}")
        self.at += 1
        return token

    def accept(self, *wanted):
        if self.peek() in wanted:
            return self.take()
        return None

    def skip_block(self, begin="{", end="}"):
        self.take(begin)
        depth = 1
        while depth:
            token = self.take()
            depth += (token == begin) - (token == end)


# Types are tuples: ("name", name, arguments), ("literal", text), ("union", types), ("object", members, any key's type).

def parse_type(t):
    t.accept("|")
    found = [parse_single(t)]
    while t.accept("|", "&"):
        found.append(parse_single(t))
    return found[0] if len(found) == 1 else ("union", found)


def parse_single(t):
    token = t.peek()
    if token == "(":
        one = parse_parenthesis(t)
    elif token == "{":
        one = parse_object(t)
    elif token in BOOLEANS:
        one = ("literal", BOOLEANS[t.take()])
    elif token[0] in "'\"" or token[0].isdigit():
        one = ("literal", t.take().strip("'\""))
    else:
        name, arguments = t.take(), []
        if t.accept("<"):
            arguments.append(parse_type(t))
            while t.accept(","):
                arguments.append(parse_type(t))
            t.take(">")
        one = ("name", name, arguments)
    while t.peek() == "[" and t.peek(1) == "]":
        t.take(), t.take()
        one = ("name", "Array", [one])
    return one


def parse_parenthesis(t):
    start = t.at
    t.skip_block("(", ")")
    if t.accept("=>"):
        parse_type(t)
        return ("name", "Function", [])
    t.at = start
    t.take("(")
    one = parse_type(t)
    t.take(")")
    return one


def parse_object(t):
    members, any_key = {}, None
    t.take("{")
    while not t.accept("}"):
        t.accept("readonly")
        if t.accept("["):
            while t.take() != "]":
                pass
            t.take(":")
            any_key = parse_type(t)
        else:
            name = t.take().strip("'\"")
            is_optional = bool(t.accept("?"))
            if t.peek() in ("(", "<"):
                skip_signature(t)
                continue
            t.take(":")
            members[name] = (is_optional, parse_type(t))
        t.accept(";", ",")
    return ("object", members, any_key)


def skip_signature(t):
    while t.peek() != "(":
        t.take()
    t.skip_block("(", ")")
    if t.accept(":"):
        parse_type(t)
    t.accept(";")


class Module:
    """The declarations of a file or, in the old layout, of all files."""

    def __init__(self, path=""):
        self.path = path
        self.types = {}  # "Session.AutomaticTax" -> (kind, type, parents)
        self.imports = {}  # name here -> (path of the module, name there or "*")
        self.methods = {}  # (class, method) -> the type of `params`, or None
        self.star = []  # modules whose names are exported too

    def read(self, text):
        self.body(Tokens(text), "")

    def body(self, t, inside):
        while t.peek() not in ("", "}"):
            self.declaration(t, inside)

    def declaration(self, t, inside):
        while t.accept("export", "declare", "default", "abstract"):
            pass
        word = t.take()
        if word == "module":
            t.take()
            self.block(t, inside)
        elif word == "namespace":
            name = t.take()
            self.block(t, "" if name == "Stripe" and not inside else f"{inside}{name}.")
        elif word == "interface":
            self.interface(t, inside)
        elif word == "type":
            name = t.take()
            if t.peek() == "<":
                t.skip_block("<", ">")
            t.take("=")
            self.types[inside + name] = ("type", parse_type(t), [])
            t.accept(";")
        elif word == "class":
            self.klass(t, inside)
        elif word == "import":
            self.import_(t)
        elif word == "*" and t.accept("from"):
            self.star.append(self.target(t.take()))
            t.accept(";")
        elif word == "{":
            t.at -= 1
            t.skip_block()
            t.accept("from") and t.take()
            t.accept(";")
        elif word in ("const", "let", "function", "enum"):
            while t.peek() not in (";", ""):
                t.skip_block() if t.peek() == "{" else t.take()
            t.accept(";")
        elif word != ";":
            while t.peek() not in (";", "", "}"):
                t.take()

    def block(self, t, inside):
        t.take("{")
        self.body(t, inside)
        t.take("}")

    def interface(self, t, inside):
        name, parents = t.take(), []
        if t.peek() == "<":
            t.skip_block("<", ">")
        if t.accept("extends"):
            parents.append(parse_single(t))
            while t.accept(","):
                parents.append(parse_single(t))
        self.types.setdefault(inside + name, ("interface", parse_object(t), parents))

    def klass(self, t, inside):
        name = inside + t.take()
        while t.peek() != "{":
            t.take()
        t.take("{")
        while not t.accept("}"):
            self.member(t, name)

    def member(self, t, name):
        while t.peek() in ("private", "protected", "public", "static", "readonly"):
            t.take()
        method = t.take()
        t.accept("?")
        if t.peek() == "<":
            t.skip_block("<", ">")
        if t.peek() == "(":
            self.method(t, name, method)
            return
        while t.peek() not in (";", "}"):
            t.skip_block() if t.peek() == "{" else t.take()
        t.accept(";")

    def method(self, t, name, method):
        t.take("(")
        while not t.accept(")"):
            t.accept("...")
            argument = t.take()
            t.accept("?")
            if t.accept(":"):
                kind = parse_type(t)
                if argument == "params":
                    self.methods.setdefault((name, method), kind)
            t.accept(",")
        if t.accept(":"):
            parse_type(t)
        t.accept(";")

    def import_(self, t):
        t.accept("type")
        if t.accept("*"):
            t.take("as")
            name = t.take()
            t.take("from")
            self.imports[name] = (self.target(t.take()), "*")
        elif t.accept("{"):
            names = {}
            while not t.accept("}"):
                there = t.take()
                names[t.take() if t.accept("as") else there] = there
                t.accept(",")
            t.take("from")
            target = self.target(t.take())
            self.imports.update({here: (target, there) for here, there in names.items()})
        else:
            while t.peek() not in (";", ""):
                t.take()
        t.accept(";")

    def target(self, quoted):
        relative = re.sub(r"\.js$", ".d.ts", quoted.strip("'\""))
        return os.path.normpath(os.path.join(os.path.dirname(self.path), relative))


class Sdk:
    """The types of one package."""

    def __init__(self, directory):
        self.directory = directory
        with open(os.path.join(directory, "cjs", "apiVersion.js")) as file:
            self.version = re.search(r"ApiVersion = '([^']+)'", file.read())[1]
        self.is_new = not os.path.isdir(os.path.join(directory, "types"))
        self.modules = {}
        if not self.is_new:
            self.all = Module()
            for path in files(os.path.join(directory, "types"), ".d.ts"):
                if not path.endswith(("/index.d.ts", "/net.d.ts", "/webhooks.d.ts", "/crypto.d.ts", "/lib.d.ts",
                                      "test.d.ts")):
                    with open(path) as file:
                        self.all.read(file.read())
            with open(os.path.join(directory, "types", "shared.d.ts")) as file:
                self.all.read(file.read())

    def module(self, path):
        if not self.is_new:
            return self.all
        if path not in self.modules:
            module = self.modules[path] = Module(path)
            is_api = os.sep + "resources" + os.sep in path or path.endswith(("shared.d.ts", "resources.d.ts"))
            if is_api and os.path.exists(path):
                with open(path) as file:
                    module.read(file.read())
        return self.modules[path]

    def resource(self, name):
        """The module of a resource, such as Checkout/Sessions."""
        return self.module(os.path.join(self.directory, "esm", "resources", name + ".d.ts"))

    def find(self, module, name, inside=""):
        """(module, full name) of the type that is called @name inside the namespace @inside."""
        while True:
            if inside + name in module.types:
                return module, inside + name
            if not inside:
                break
            inside = inside.rpartition(".")[0].rpartition(".")[0]
            inside += "." if inside else ""
        first, _, rest = name.partition(".")
        if first == "Stripe" and rest:
            return self.find(module, rest)
        if first in module.imports:
            path, there = module.imports[first]
            full = rest if there == "*" else there + ("." + rest if rest else "")
            return self.find(self.module(path), full)
        for path in module.star:
            found = self.find(self.module(path), name)
            if found:
                return found
        return None

    def members(self, module, name):
        """{member: (is_optional, type, module, namespace)}, with those of the parents, and any key's type."""
        _, (_, own, any_key), parents = module.types[name]
        found = {}
        inside = name + "."
        for parent in parents:
            place = self.find(module, parent[1], inside.rpartition(".")[0].rpartition(".")[0])
            if place:
                inherited, more = self.members(*place)
                found.update(inherited)
                any_key = any_key or more
        found.update({key: (is_optional, kind, module, inside) for key, (is_optional, kind) in own.items()})
        return found, any_key

    # The calls.

    def calls(self):
        """{"POST /v1/customers/{}": (module, type of the parameters or None)}"""
        found = {}
        base = os.path.join(self.directory, "esm", "resources")
        for path in files(base, ".js"):
            with open(path) as file:
                source = file.read()
            name = os.path.relpath(path, base)[:-3]
            module = self.resource(name)
            klass = name.replace("/", ".") + "Resource"
            by_method = {method: kind for (owner, method), kind in module.methods.items()
                         if self.is_new or owner == klass}
            for method, verb, url in self.requests(source):
                found[f"{verb} {url}"] = (module, by_method.get(method), self.namespace(name))
        return found

    def namespace(self, name):
        return "" if self.is_new else "".join(part + "." for part in name.split("/")[:-1])

    def requests(self, source):
        if self.is_new:
            current = None
            for line in source.splitlines():
                head = re.match(r"    (?:async )?(\w+)\(.*\) \{$", line)
                current = head[1] if head else current
                made = re.search(r"_makeRequest\('(\w+)', [`']([^`']+)[`']", line)
                if made:
                    yield current, made[1], re.sub(r"\$\{[^}]*\}", "{}", made[2])
            return
        for made in re.finditer(r"(\w+): stripeMethod\(\{(.*?)\}\)", source, re.S):
            verb, url = re.search(r"method: '(\w+)'", made[2]), re.search(r"fullPath: '([^']+)'", made[2])
            if verb and url:
                yield made[1], verb[1], re.sub(r"\{\w+\}", "{}", url[1])


def files(base, ending):
    for where, _, names in sorted(os.walk(base)):
        for name in sorted(names):
            if name.endswith(ending):
                yield os.path.join(where, name)


if __name__ == "__main__":
    import accepted
    import members
    for table in (accepted, members):
        table.write([Sdk(directory) for directory in sys.argv[1:]])
