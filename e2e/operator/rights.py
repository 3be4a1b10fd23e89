"""Of rendered manifests on standard input, those that define kinds or give rights."""

import re
import sys

KINDS = {"CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
for document in re.split(r"(?m)^---\s*$", sys.stdin.read()):
    kind = re.search(r"(?m)^kind: (\S+)", document)
    if kind and kind.group(1) in KINDS and "helm.sh/hook" not in document:
        print("---", document, sep="\n")
