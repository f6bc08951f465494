"""The manifests for Kubernetes as data: as they lie there, and as kubectl renders an overlay."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stack.layout import ROOT

Document = dict[str, Any]

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION = "kustomization.yaml"
VALUES = FOLDER / "prometheus-adapter.yaml"
"""A Helm chart's values, which no kustomization takes."""
FILES = sorted(file for file in FOLDER.rglob("*.yaml") if file.name != KUSTOMIZATION and file != VALUES)
OVERLAYS = ("local", "production")
TOOL = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
needs_kustomize = pytest.mark.skipif(
    shutil.which(TOOL[0]) is None, reason="neither kubectl nor kustomize is installed, which render overlays"
)
SCHEMA = json.loads(Path(__file__).with_name("kubernetes_schema.json").read_text(encoding="utf-8"))
MEMORY = {"m": "Mi", "g": "Gi"}
UNITS = {"": 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}


def read(file: Path) -> list[Document]:
    """Return a file's documents."""
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def written() -> list[Document]:
    """Return all documents as they lie there, base, overlays and components together."""
    return [document for file in FILES for document in read(file)]


@cache
def rendered(folder: Path) -> list[Document]:
    """Return what would be applied of a folder."""
    done = subprocess.run([*TOOL, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def errors(document: Document) -> list[str]:
    """Return what Kubernetes would refuse; a kind without a schema is an error, too."""
    definition = SCHEMA["$defs"].get(document["kind"])
    if definition is None:
        return [f"no schema of {document['kind']}"]
    validator = Draft202012Validator({"$ref": f"#/$defs/{document['kind']}", "$defs": SCHEMA["$defs"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def one(documents: list[Document], kind: str, name: str) -> Document:
    """Return the document of a kind and a name."""
    [found] = [each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Return all documents of a kind."""
    return [each for each in documents if each["kind"] == kind]


@dataclass(frozen=True)
class Pod:
    """What a Deployment makes, or a predictor of KServe."""

    name: str
    labels: dict[str, str]
    spec: Document

    @classmethod
    def of(cls, deployment: Document) -> Pod:
        """Return a Deployment's pod."""
        template = deployment["spec"]["template"]
        return cls(deployment["metadata"]["name"], template["metadata"]["labels"], template["spec"])

    def containers(self) -> dict[str, Document]:
        """Return its containers, side-cars first."""
        return {each["name"]: each for each in [*self.spec.get("initContainers", []), *self.spec["containers"]]}

    def ports(self) -> dict[str, int]:
        """Return its named ports."""
        listed = (port for each in self.containers().values() for port in each.get("ports", []))
        return {port["name"]: port["containerPort"] for port in listed}

    def matches(self, selector: Document) -> bool:
        """Whether a label selector means it."""
        wanted = selector.get("matchLabels", {})
        among = {
            each["key"]: each["values"] for each in selector.get("matchExpressions", []) if each["operator"] == "In"
        }
        assert len(among) == len(selector.get("matchExpressions", []))
        return all(self.labels.get(key) == value for key, value in wanted.items()) and all(
            self.labels.get(key) in values for key, values in among.items()
        )

    def mounts(self, container: str) -> dict[str, Document]:
        """Return a container's volumes by the path where they are mounted."""
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        return {each["mountPath"]: volumes[each["name"]] for each in self.containers()[container]["volumeMounts"]}

    def environment(self, container: str, secrets: dict[str, str]) -> dict[str, str]:
        """Return a container's variables, references in place, with values for those that come from secrets."""
        variables = {each["name"]: each.get("value") for each in self.containers()[container].get("env", [])}
        assert {name for name, value in variables.items() if value is None} == set(secrets)
        filled = {name: value for name, value in variables.items() if value is not None}
        for secret, value in secrets.items():
            filled = {name: text.replace(f"$({secret})", value) for name, text in filled.items()}
        return filled

    def not_restricted(self) -> list[str]:
        """Return what the Pod Security Standard "restricted" would refuse, and what this project forbids beyond it."""
        pod, wrong = self.spec, [key for key in ("hostNetwork", "hostPID", "hostIPC") if self.spec.get(key)]
        wrong += [
            f"volume {each['name']}" for each in pod.get("volumes", []) if not each.keys() & {"emptyDir", "secret"}
        ]
        security = pod.get("securityContext", {})
        if not security.get("runAsNonRoot") or not security.get("runAsUser"):
            wrong.append("runs as root")
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            wrong.append("seccompProfile")
        if pod.get("automountServiceAccountToken") is not False:
            wrong.append("automountServiceAccountToken")
        own = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        wrong += [f"{name} may more" for name, each in self.containers().items() if each.get("securityContext") != own]
        return wrong


def limits_of_compose(service: Document) -> Document:
    """Return a Compose service's limits in Kubernetes' words."""
    limits = service["deploy"]["resources"]["limits"]
    return {"cpu": limits["cpus"], "memory": in_bytes(limits["memory"])}


def in_bytes(size: str) -> str:
    """Return a size of Compose, `512m`, as Kubernetes writes it, `512Mi`."""
    return size[:-1] + MEMORY[size[-1]]


def quantity(text: str) -> float:
    """Return what Kubernetes understands by `100m` or `3Gi`."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * UNITS[unit]


def let_in(policies: list[Document], pod: Pod, direction: str) -> dict[tuple[str, int], set[str]]:
    """Return whom policies let talk to a pod, or it to whom, by protocol and port; a rule must name both."""
    found: dict[tuple[str, int], set[str]] = {}
    for policy in policies:
        spec = policy["spec"]
        if not pod.matches(spec["podSelector"]) or direction not in spec["policyTypes"]:
            continue
        for rule in spec.get(direction.lower(), []):
            peers = {_peer(peer) for peer in rule["from" if direction == "Ingress" else "to"]}
            for port in rule["ports"]:
                found.setdefault((port["protocol"], port["port"]), set()).update(peers)
    return found


def _peer(peer: Document) -> str:
    [(kind, selector)] = peer.items()
    [(label, value)] = selector["matchLabels"].items()
    names = {
        ("podSelector", "app.kubernetes.io/name"): "pod",
        ("namespaceSelector", "kubernetes.io/metadata.name"): "namespace",
    }
    return f"{names[kind, label]} {value}"


WRITTEN = written()
PODS = {pod.name: pod for pod in map(Pod.of, of_kind(WRITTEN, "Deployment"))}
PASSWORD = {"REDIS_PASSWORD": "0123abc"}
