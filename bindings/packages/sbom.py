# SPDX-License-Identifier: Apache-2.0
"""The bill of materials of a package, as SPDX 2.3: every file with its checksums, what made the binaries, and what they
need. Nothing of others is contained."""

import datetime
import hashlib
import json

NEEDED = [("glibc", "LGPL-2.1-or-later", "loaded at run time: libc, libm")]
OPTIONAL = [("NVIDIA CUDA driver", "LicenseRef-NVIDIA", "libcuda.so.1, opened at run time where it is there")]


def reference(name):
    return "SPDXRef-" + "".join(c if c.isalnum() or c == "." else "-" for c in name)


def package(name, version, licence, comment):
    return {"SPDXID": reference(name), "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": licence,
            "copyrightText": "NOASSERTION", "comment": comment}


def files(tree):
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()):
        content = path.read_bytes()
        yield {"SPDXID": reference(f"file-{path.relative_to(tree)}"), "fileName": f"./{path.relative_to(tree)}",
               "checksums": [{"algorithm": name, "checksumValue": hashlib.new(name, content).hexdigest()}
                             for name in ["SHA1", "SHA256"]],
               "licenseConcluded": "Apache-2.0", "licenseInfoInFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION"}


def write(target, tree, release, epoch, compilers):
    """Writes the bill of `tree` to `target` inside it; it does not list itself, nor the list of checksums beside it."""
    listed = list(files(tree))
    sums = sorted(file["checksums"][0]["checksumValue"] for file in listed)
    made = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = {
        "SPDXID": "SPDXRef-hopmla", "name": "hopmla", "versionInfo": release, "downloadLocation": "NOASSERTION",
        "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0", "licenseInfoFromFiles": ["NOASSERTION"],
        "copyrightText": "NOASSERTION", "filesAnalyzed": True, "packageVerificationCode": {
            "packageVerificationCodeValue": hashlib.sha1("".join(sums).encode()).hexdigest(),
            "packageVerificationCodeExcludedFiles": [f"./{target.relative_to(tree)}",
                                                     f"./{target.with_name('SHA256SUMS').relative_to(tree)}"]},
        "hasFiles": [file["SPDXID"] for file in listed],
    }
    needed = [package(name, "NOASSERTION", licence, comment) for name, licence, comment in NEEDED + OPTIONAL]
    tools = [package(name, version, "NOASSERTION", "compiled the binaries") for name, version in compilers]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", own["SPDXID"])]
    relations += [(own["SPDXID"], "DEPENDS_ON", reference(name)) for name, _, _ in NEEDED]
    relations += [(reference(name), "OPTIONAL_DEPENDENCY_OF", own["SPDXID"]) for name, _, _ in OPTIONAL]
    relations += [(reference(name), "BUILD_TOOL_OF", own["SPDXID"]) for name, _ in compilers]
    digest = hashlib.sha256("".join(sums).encode()).hexdigest()
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"hopmla-{release}",
        "documentNamespace": f"https://hopmla.dev/spdx/hopmla-{release}-{digest[:32]}",
        "creationInfo": {"created": made, "creators": ["Tool: bindings/packages/sbom.py"]},
        "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-NVIDIA", "extractedText": "NVIDIA driver licence"}],
        "packages": [own, *needed, *tools], "files": listed,
        "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b}
                          for a, kind, b in relations],
    }
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
