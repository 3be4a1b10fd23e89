#!/usr/bin/env python3
"""Packs files into a container image of one layer, without Docker.

    pack.py --output IMAGE.tar --name localhost/broker:dev --entrypoint /broker [--user 65532:65532] [--libraries] FILE=/PATH ...

The tar is what `docker save` writes: `ctr images import`, `docker load` and `skopeo copy docker-archive:` all read it. The same files give the same bytes.
With --libraries, the shared libraries that the files are linked to go in as well.
"""

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile


def main():
    parser = argparse.ArgumentParser(description="packs files into a container image of one layer")
    parser.add_argument("--output", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--entrypoint", action="append", default=[])
    parser.add_argument("--user", default="0:0", help="user and group that the container runs as")
    parser.add_argument("--architecture", default="amd64", help="of the files: amd64 or arm64")
    parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="add a label")
    parser.add_argument("--libraries", action="store_true", help="add the shared libraries that the files need")
    parser.add_argument("--link", action="append", default=[], metavar="PATH=TARGET", help="add a symbolic link")
    parser.add_argument("--folder", action="append", default=[], metavar="PATH", help="add an empty folder that the user owns")
    parser.add_argument("files", nargs="+", metavar="FILE=/PATH")
    arguments = parser.parse_args()

    files = dict(reversed(pair.split("=", 1)) for pair in arguments.files)
    if arguments.libraries:
        for source in list(files.values()):
            for library in shared_libraries(source):
                files.setdefault(library, library)
    links = dict(pair.split("=", 1) for pair in arguments.link)
    write_image(arguments, layer_of(files, links, arguments.folder, arguments.user))


def shared_libraries(binary):
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def layer_of(files, links, folders, user):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        # A program may want somewhere to write, and no image of one file has it.
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
        for path in sorted(folders):
            owned = tarfile.TarInfo(path.lstrip("/"))
            owned.type, owned.mode = tarfile.DIRTYPE, 0o755
            owned.uid, owned.gid = (int(part) for part in user.split(":"))
            tar.addfile(owned)
        for path in sorted(files):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = os.path.getsize(files[path]), 0o755
            with open(files[path], "rb") as file:
                tar.addfile(entry, file)
        for path in sorted(links):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, links[path]
            tar.addfile(entry)
    return layer.getvalue()


def write_image(arguments, layer):
    config = json.dumps(
        {
            "architecture": arguments.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": arguments.entrypoint,
                "User": arguments.user,
                "Env": ["PATH=/bin:/"],
                "Labels": dict(label.split("=", 1) for label in arguments.label),
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [arguments.name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(arguments.output, "w") as tar:
        for name, content in ((config_name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
