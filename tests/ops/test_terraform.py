"""Terraform's files by the schema of Google's provider and by what they must agree with; plans by Terraform itself."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import Route

from gateway.routes import build_routes
from gateway.schemas import HealthBody
from gateway.settings import Settings
from stack.cloud_run import EXAMPLES, FORMS, MANIFEST
from stack.layout import ROOT
from tests.ops.terraform_alerts import charts, checks, rules
from tests.ops.terraform_files import (
    FOLDER,
    META,
    MODULES,
    SCHEMA,
    Block,
    blocks,
    named,
    parse,
    read,
    references,
)
from tests.ops.terraform_plan import Terraform, needs_terraform, offline

NAME = "product-photo-detector"
BLOCKS = [(module.name, block) for module in MODULES for block in blocks(read(module))]
PAGE = (ROOT / "docs/terraform.md").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/cd.yml").read_text(encoding="utf-8"))
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
GIVEN: dict[str, object] = {"project": "shop-prod", "region": "europe-west1"}
ALL = GIVEN | {
    "service_deployed": True,
    "invokers": ["user:ann@example.com"],
    "data_users": ["group:training@example.com"],
    "alert_emails": ["on-call@example.com"],
    "github_repository": "shop/detector",
}


def block(text: str) -> Block:
    [found] = blocks(parse(text))
    return found


@pytest.mark.parametrize(("module", "block"), BLOCKS, ids=lambda each: getattr(each, "type", each))
def test_a_block_is_what_googles_provider_takes(module: str, block: Block) -> None:
    assert block.problems() == [], module


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ("", []),
        ("versionning {}", ["unknown: versionning"]),
        ('self_link = "b"', ["unknown: self_link"]),
        ("versioning {}", ["versioning: missing: enabled"]),
        ("versioning {\nenabled = true\n}\n" * 2, ["2 times: versioning"]),
        (
            'lifecycle_rule {\n action {\n type = "Delete"\n }\n condition {\n days = 1\n }\n}',
            ["lifecycle_rule: condition: unknown: days"],
        ),
        ("lifecycle_rule {\n condition {}\n}", ["lifecycle_rule: 0 times: action"]),
    ],
)
def test_the_schema_refuses_what_the_provider_would_and_nothing_else(inside: str, why: list[str]) -> None:
    found = block(f'resource "google_storage_bucket" "data" {{\nname = "a"\nlocation = "EU"\n{inside}\n}}')
    assert found.problems() == why


def test_a_missing_argument_is_seen() -> None:
    found = block('resource "google_storage_bucket" "data" {\nlocation = "EU"\n}')
    assert found.problems() == ["missing: name"]


def test_the_schema_holds_what_is_used_and_is_of_the_version_that_is_asked_for() -> None:
    used = {(found.kind, found.type) for _, found in BLOCKS}
    known = {("resource", name) for name in SCHEMA["resource_schemas"]}
    assert used == known | {("data", name) for name in SCHEMA["data_source_schemas"]}
    [asked] = [found["required_providers"][0]["google"] for found in read(FOLDER)["terraform"]]
    assert asked == {"source": "hashicorp/google", "version": "~> 6.50"}
    assert "hashicorp/google 6.50.0" in SCHEMA["$comment"]


@each_module
def test_variables_have_types_and_meanings_and_are_used(module: Path) -> None:
    variables = named(module, "variable")
    assert [name for name, said in variables.items() if not {"type", "description"} <= set(said)] == []
    used = {name for kind, name, _ in references({**read(module), "variable": []}) if kind == "var"}
    assert used == set(variables)


@each_module
def test_outputs_have_meanings(module: Path) -> None:
    assert [name for name, said in named(module, "output").items() if not said["description"]] == []


def test_a_module_is_given_all_that_it_asks_for_and_nothing_else() -> None:
    calls = named(FOLDER, "module")
    assert {said["source"] for said in calls.values()} == {f"./modules/{module.name}" for module in MODULES[1:]}
    for said in calls.values():
        asked = named(FOLDER / said["source"], "variable")
        assert set(said) - META - {"source"} == set(asked), said["source"]
        assert [name for name, variable in asked.items() if "default" in variable] == []


@each_module
def test_whatever_is_referred_to_exists(module: Path) -> None:
    content = read(module)
    there = {(found.type, found.name): found for found in blocks(content)}
    calls = named(module, "module")
    locals_ = {name for block in content.get("locals", []) for name in block}
    for kind, name, follows in references(content):
        if kind == "local":
            assert name in locals_
        elif kind == "module":
            assert follows in named(FOLDER / calls[name]["source"], "output")
        elif kind == "data":
            assert (name, follows) in there
        elif kind != "var":  # whose test is the one above
            found = there[kind, name]
            assert follows in {"", *found.schema["attributes"]}


def test_roles_are_the_least_that_do() -> None:
    roles = {(module, found.name): found.said["role"] for module, found in BLOCKS if "role" in found.said}
    assert roles == {
        ("cloud-run", "reader"): "roles/secretmanager.secretAccessor",
        ("cloud-run", "invoker"): "roles/run.invoker",
        ("monitoring", "uptime"): "roles/run.invoker",
        ("github", "workflow"): "roles/iam.workloadIdentityUser",
        ("github", "push"): "roles/artifactregistry.writer",
        ("github", "deploy"): "roles/run.developer",
        ("github", "runs_as"): "roles/iam.serviceAccountUser",
        ("github", "try"): "roles/run.invoker",
        ("storage", "user"): "roles/storage.objectUser",
    }


def test_rights_are_added_and_take_none_from_others() -> None:
    """As a binding or a whole policy would."""
    granting = {found.type for _, found in BLOCKS if "role" in found.said or found.type.endswith("_iam_policy")}
    assert [name for name in granting if not name.endswith("_iam_member")] == []


def test_nobody_is_let_in_and_no_secret_or_key_is_made_by_what_the_files_say() -> None:
    types = {found.type for _, found in BLOCKS}
    assert types & {"google_secret_manager_secret_version", "google_service_account_key"} == set()
    said = json.dumps([{**read(module), "variable": []} for module in MODULES])
    assert re.findall(r"allUsers|allAuthenticatedUsers|private_key|password|BEGIN ", said) == []
    assert named(FOLDER, "variable")["invokers"]["default"] == []


def test_the_example_sets_variables_that_exist_and_all_that_have_no_default() -> None:
    variables = named(FOLDER, "variable")
    example = set(parse((FOLDER / "terraform.tfvars.example").read_text(encoding="utf-8")))
    assert {name for name, said in variables.items() if "default" not in said} <= example <= set(variables)


def test_git_takes_neither_state_nor_values_but_the_example_and_the_lock() -> None:
    names = [".terraform/x", "terraform.tfstate", "terraform.tfstate.backup", "terraform.tfvars", "plan.tfplan"]
    kept = ["terraform.tfvars.example", ".terraform.lock.hcl"]
    asked = ("git", "check-ignore", "--no-index", *(f"deploy/terraform/{name}" for name in (*names, *kept)))
    ignored = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    assert ignored == [f"deploy/terraform/{name}" for name in names]


def test_project_and_region_have_the_forms_that_make_deploy_takes() -> None:
    variables = named(FOLDER, "variable")
    for name in ("project", "region"):
        assert f'regex("^{FORMS[name.upper()]}$"' in variables[name]["validation"][0]["condition"]


def test_names_are_those_of_the_manifest_the_makefile_and_the_pages() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^REPOSITORY \?= (.+)$", makefile, re.MULTILINE) == [NAME]
    assert EXAMPLES["REPOSITORY"] == NAME
    page = (ROOT / "docs/cloud-run.md").read_text(encoding="utf-8")
    by_hand = re.findall(r"gcloud (artifacts repositories|secrets|iam service-accounts) create (\S+)", page)
    assert by_hand == [("artifacts repositories", NAME), ("secrets", f"{NAME}-keys"), ("iam service-accounts", NAME)]
    assert len(NAME) <= 27  # Google's 30 for the deployer, which adds -cd


def test_google_asks_a_path_that_cloud_run_lets_through_for_fields_that_it_answers_with() -> None:
    [check] = [found.said for _, found in BLOCKS if found.type == "google_monitoring_uptime_check_config"]
    path = check["http_check"][0]["path"]
    assert path in {route.path for route in build_routes(Settings()) if isinstance(route, Route)}
    assert not path.endswith("z")
    assert int(check["timeout"].removesuffix("s")) > Settings().readiness_timeout_s
    assert {said["field"] for said in checks().values()} <= set(HealthBody.model_fields)


def test_the_deploying_workflow_reads_the_variables_that_the_output_gives() -> None:
    read_there = set(re.findall(r"\bvars\.(\w+)", json.dumps(WORKFLOW)))
    given = set(re.findall(r"^ +([A-Z_]+) += ", (FOLDER / "outputs.tf").read_text(encoding="utf-8"), re.MULTILINE))
    assert read_there == given == {"WORKLOAD_IDENTITY_PROVIDER", "DEPLOYER_SERVICE_ACCOUNT", "PROJECT", "REGION"}
    assert [name for name in given if f"`{name}`" not in PAGE] == []


def test_the_workflow_runs_in_the_environment_and_on_the_branch_that_are_let_in() -> None:
    variables = named(FOLDER, "variable")
    job = WORKFLOW["jobs"]["deploy"]
    assert job["environment"]["name"] == variables["github_environment"]["default"]
    assert f"refs/heads/{variables['github_branch']['default']}" in job["if"]


def test_the_page_names_every_variable_and_output() -> None:
    names = {*named(FOLDER, "variable"), *named(FOLDER, "output")}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


@needs_terraform
def test_the_files_are_formatted() -> None:
    command = ("terraform", "fmt", "-check", "-recursive", "-list=true", str(FOLDER))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    with offline(tmp_path_factory.mktemp("terraform")) as ready:
        yield ready


@pytest.fixture(scope="module")
def planned(terraform: Terraform) -> dict[str, Any]:
    return terraform.plan(**ALL)


def made(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What would be made, by its address."""
    return {change["address"]: change["change"]["after"] for change in plan["resource_changes"]}


@needs_terraform
def test_terraform_accepts_the_configuration(terraform: Terraform) -> None:
    done = terraform.run("validate", "-json")
    assert json.loads(done.stdout)["diagnostics"] == []


@needs_terraform
def test_terraform_refuses_an_argument_that_the_provider_does_not_know(terraform: Terraform) -> None:
    wrong = terraform.folder / "modules/storage/wrong.tf"
    wrong.write_text('resource "google_storage_bucket" "b" {\n name = "b"\n location = "EU"\n versionning {}\n}\n')
    said = json.loads(terraform.run("validate", "-json").stdout)
    wrong.unlink()
    assert [each["detail"] for each in said["diagnostics"]] == [
        'Blocks of type "versionning" are not expected here. Did you mean "versioning"?'
    ]


@needs_terraform
def test_before_the_first_deploy_nothing_needs_the_service(terraform: Terraform) -> None:
    before = made(terraform.plan(**ALL | {"service_deployed": False}))
    assert [address for address in before if "run_v2" in address or address.startswith("module.monitoring")] == []
    apis, registry, storage, service, github = 9, 1, 2, 3, 7
    assert len(before) == apis + registry + storage + service + github


@needs_terraform
def test_without_a_repository_there_is_no_deployer(terraform: Terraform) -> None:
    plan = terraform.plan(**GIVEN)
    assert [address for address in made(plan) if address.startswith("module.github")] == []
    assert plan["planned_values"]["outputs"]["github_variables"].get("value") is None


@needs_terraform
def test_what_is_made_has_the_names_that_the_manifest_says(planned: dict[str, Any]) -> None:
    after = made(planned)
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    spec = manifest["spec"]["template"]["spec"]
    account = after["module.cloud_run.google_service_account.runtime"]["account_id"]
    assert f"{account}@${{PROJECT}}.iam.gserviceaccount.com" == spec["serviceAccountName"]
    [secret] = [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume]
    assert after["module.cloud_run.google_secret_manager_secret.keys"]["secret_id"] == secret
    callers = {key: said for key, said in after.items() if ".google_cloud_run_v2_service_iam_member." in key}
    assert {said["name"] for said in callers.values()} == {manifest["metadata"]["name"]}
    assert {said.get("member") for said in callers.values()} == {
        "user:ann@example.com",
        "serviceAccount:service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com",
        None,  # the deployer, known after apply
    }
    outputs = {name: said.get("value") for name, said in planned["planned_values"]["outputs"].items()}
    assert outputs["registry"] == f"europe-west1-docker.pkg.dev/shop-prod/{NAME}"
    assert outputs["data_bucket"] == f"gs://shop-prod-{NAME}"
    assert outputs["secret"] == secret
    assert outputs["service_url"] == f"https://{NAME}-123456789012.europe-west1.run.app"


@needs_terraform
def test_only_the_repositorys_branch_and_environment_are_trusted(planned: dict[str, Any], terraform: Terraform) -> None:
    address = "module.github[0].google_iam_workload_identity_pool_provider.github"
    at_home = "assertion.ref == 'refs/heads/main' && assertion.repository == 'shop/detector'"
    assert made(planned)[address]["attribute_condition"] == f"assertion.environment == 'production' && {at_home}"
    anywhere = made(terraform.plan(**ALL | {"github_environment": None}))
    assert anywhere[address]["attribute_condition"] == at_home


@needs_terraform
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project", "Shop"),
        ("region", "europe"),
        ("github_repository", "https://github.com/shop/detector"),
        ("github_repository", "shop/detector' || true || '"),
        ("github_branch", "main' || '"),
        ("github_environment", "a b"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(terraform: Terraform, name: str, value: str) -> None:
    with pytest.raises(AssertionError, match=rf"var\.{name} is"):
        terraform.plan(**GIVEN | {name: value})


@needs_terraform
def test_alerts_and_charts_are_those_of_the_files(planned: dict[str, Any]) -> None:
    after = made(planned)
    policies = {key: said for key, said in after.items() if "google_monitoring_alert_policy.rule" in key}
    told = {}
    for policy in policies.values():
        [condition] = policy["conditions"]
        [asked] = condition["condition_prometheus_query_language"]
        told[policy["display_name"]] = (asked["query"], asked["duration"], policy["severity"])
    assert told == {
        name: (rule["expr"], f"{60 * int(rule.get('for', '0m')[:-1])}s", rule["labels"]["severity"].upper())
        for name, rule in rules().items()
    }
    dashboard = json.loads(after["module.monitoring[0].google_monitoring_dashboard.service"]["dashboard_json"])
    shown = [widget["xyChart"]["dataSets"][0]["timeSeriesQuery"] for widget in dashboard["gridLayout"]["widgets"]]
    assert shown == [{"prometheusQuery": chart["expr"], "unitOverride": chart["unit"]} for chart in charts()]
