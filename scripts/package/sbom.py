#!/usr/bin/env python3
"""Prints a software bill of materials of the program in CycloneDX 1.5, as JSON.

    sbom.py PROGRAM TRIPLE FORMAT

What is in it is what the program itself says (the section .dep-v0, by cargo auditable), so the two cannot differ; FORMAT
is the crate that wrote that section, as NAME@VERSION. Licences are from `cargo metadata` for the platform TRIPLE, and
hashes of the crates from Cargo.lock. The same program gives the same text: its time is SOURCE_DATE_EPOCH.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import uuid
import zlib


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def packages(program):
    """The list in the program: names, versions, whose they are, and the numbers of those that each depends on."""
    with tempfile.TemporaryDirectory() as folder:
        # Without a place for its copy of the program, objcopy would write over the program.
        run("objcopy", "--dump-section", f".dep-v0={folder}/section", program, f"{folder}/copy")
        with open(f"{folder}/section", "rb") as file:
            return json.loads(zlib.decompress(file.read()))["packages"]


def component(package, licence, checksum, root):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    described = {"type": "application" if root else "library", "bom-ref": purl, "name": name, "version": version}
    if package.get("kind") == "build":
        # It has run while the program was built, and is not part of it.
        described["scope"] = "excluded"
    elif not root:
        described["scope"] = "required"
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if licence:
        # Some crates still separate licences as Cargo once did.
        described["licenses"] = [{"expression": licence.replace("/", " OR ")}]
    if package["source"] == "crates.io":
        described["purl"] = purl
    return described


def main(program, triple, tool):
    found = packages(program)
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple))
    licences = {(crate["name"], crate["version"]): crate["license"] for crate in metadata["packages"]}
    with open("Cargo.lock", "rb") as file:
        locked = tomllib.load(file)["package"]
    checksums = {(crate["name"], crate["version"]): crate.get("checksum") for crate in locked}

    components, described = [], None
    for package in found:
        key = (package["name"], package["version"])
        is_root = package.get("root", False)
        part = component(package, licences.get(key), checksums.get(key), is_root)
        if is_root:
            with open(program, "rb") as file:
                part["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(file.read()).hexdigest()}]
            described = part
        else:
            components.append(part)
    compiler = run("rustc", "--version").split()[1]
    standard = {"type": "library", "bom-ref": f"rust-std@{compiler}", "name": "rust-std", "version": compiler}
    components.append(standard | {"scope": "required", "licenses": [{"expression": "MIT OR Apache-2.0"}]})

    references = [f"pkg:cargo/{package['name']}@{package['version']}" for package in found]
    dependencies = [
        {"ref": reference, "dependsOn": [references[number] for number in package.get("dependencies", [])]}
        for reference, package in zip(references, found)
    ]
    name, version = tool.split("@")
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, described['hashes'][0]['content'])}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
            "tools": {"components": [{"type": "application", "name": name, "version": version}]},
            "component": described,
        },
        "components": components,
        "dependencies": dependencies,
    }
    json.dump(bill, sys.stdout, indent=1)
    print()


main(*sys.argv[1:])
