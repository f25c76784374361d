"""The manifest of an attempt's Job, its plan and its pod."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.engines.kubernetes_job.manifest import is_tombstone, job_manifest, tombstone
from projectsetup.engines.kubernetes_job.plan import PLAN, Plan, stages_of
from projectsetup.engines.kubernetes_job.pod import STAGE_SCRIPT, PodSettings, literal
from projectsetup.setup.credentials import GitCredentials, HttpsLogin
from projectsetup.setup.types import InfrastructureError
from tests.support.job_attempts import PROJECT_ID, make_adoption, make_attempt, make_recipe

Body = dict[str, Any]

BUILD = {"name": "build", "run": "make $(nproc) $$ $HOME"}
PUSH = {"name": "push", "run": "git push", "credentials": True, "status": "committing"}
RETRY = {"exitCodes": [9], "output": ["a|b"]}


def kubelet(text: str, variables: dict[str, str]) -> str:
    """Expand a word as the kubelet does, after third_party/forked/golang/expansion of Kubernetes."""
    expanded, at = "", 0
    while at < len(text):
        follows = text[at + 1 : at + 2]
        end = text.find(")", at + 2)
        if text[at] != "$" or not follows:
            expanded, at = expanded + text[at], at + 1
        elif follows == "$":
            expanded, at = expanded + "$", at + 2
        elif follows == "(" and end >= 0:
            name = text[at + 2 : end]
            expanded, at = expanded + variables.get(name, f"$({name})"), end + 1
        else:
            expanded, at = expanded + text[at : at + 2], at + 2
    return expanded


@given(st.text(st.sampled_from("$()A{} é\n")))
def test_the_kubelet_expands_nothing_in_literals(text: str) -> None:
    assert kubelet(literal(text), {"A": "replaced", "": "replaced", "$": "replaced"}) == text


def pod_of(job: Body) -> Body:
    pod: Body = job["spec"]["template"]["spec"]
    return pod


def variables(container: Body) -> dict[str, str]:
    return {item["name"]: kubelet(item["value"], {}) for item in container["env"]}


@pytest.mark.parametrize(
    ("steps", "stages"),
    [
        ([BUILD], [["build"]]),
        ([BUILD, {"name": "test"}, PUSH], [["build", "test"], ["push"]]),
        ([PUSH, BUILD, {**PUSH, "name": "again"}], [["push"], ["build"], ["again"]]),
        ([BUILD, {"name": "other", "image": "other:1"}, {"name": "test"}], [["build"], ["other"], ["test"]]),
        ([BUILD, {"name": "same", "image": "toolchain:1"}], [["build", "same"]]),
        ([BUILD, {"name": "alone", "isolate": True}, {"name": "test"}], [["build"], ["alone"], ["test"]]),
        ([{"name": "alone", "isolate": True}, {"name": "too", "isolate": True}], [["alone"], ["too"]]),
    ],
)
def test_which_steps_share_a_container(steps: list[Body], stages: list[list[str]]) -> None:
    found = stages_of(make_recipe(*steps))
    assert [[step.name for step in stage.steps] for stage in found] == stages
    assert [stage.name for stage in found] == [names[0] for names in stages]


def test_the_job() -> None:
    job = job_manifest(make_attempt(make_recipe(BUILD, PUSH)), PodSettings(ttl=60, queue="builds"))
    assert job["metadata"]["name"] == f"setup-{PROJECT_ID}-2-7"
    assert job["metadata"]["namespace"] == "team"
    labels = {
        "app.kubernetes.io/managed-by": "projectsetup-operator",
        "app.kubernetes.io/component": "attempt",
        "setup.codemyspec.com/project": str(PROJECT_ID),
        "setup.codemyspec.com/attempt": "2",
        "setup.codemyspec.com/fence": "7",
    }
    assert job["spec"]["template"]["metadata"]["labels"] == labels
    assert job["metadata"]["labels"] == {**labels, "kueue.x-k8s.io/queue-name": "builds"}
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ProjectSetup", "uid-1", True)
    ignored = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    expected = {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [ignored]},
        "activeDeadlineSeconds": 91,
        "ttlSecondsAfterFinished": 60,
    }
    assert {key: value for key, value in job["spec"].items() if key != "template"} == {**expected, "suspend": True}
    job = job_manifest(make_attempt(make_recipe(BUILD, PUSH)), PodSettings(ttl=60))
    assert {key: value for key, value in job["spec"].items() if key != "template"} == expected
    json.dumps(job)
    adopted = tombstone(make_adoption())
    assert (is_tombstone(adopted), is_tombstone(job)) == (True, False)
    assert adopted["metadata"]["name"] == job["metadata"]["name"]
    assert (adopted["spec"]["suspend"], adopted["spec"]["parallelism"]) == (True, 0)


def test_the_plan_is_read_back_from_the_job() -> None:
    recipe = make_recipe({**BUILD, "timeout": "90s", "env": {"SECRET_OF_RECIPE": "x"}, "retry": RETRY}, PUSH)
    job = job_manifest(make_attempt(recipe), PodSettings())
    plan = Plan.read(job, Plan.of(recipe, 90.5).digest)
    assert plan == Plan.of(recipe, 90.5) == Plan.read(job, "uid-of-the-version-before-7")
    assert [(step.name, step.timeout) for step in plan.steps] == [(step.name, step.timeout) for step in recipe.steps]
    assert plan.steps[0].retry == recipe.steps[0].retry
    assert plan.timeout == 90.5
    assert "make" not in job["metadata"]["annotations"][PLAN]
    assert "SECRET" not in job["metadata"]["annotations"][PLAN]
    progress = plan.progress_at("push")
    assert progress is not None
    assert (progress.project_status, progress.completed, progress.total) == ("committing", 1, 2)
    assert plan.progress_at("nothing") is None


def test_traces_give_each_step_its_traceparent_and_change_nothing_else() -> None:
    recipe = make_recipe({**BUILD, "env": {"A": "b", "TRACEPARENT": "of the recipe"}}, {"name": "test"})
    plain = job_manifest(make_attempt(recipe), PodSettings())
    traced = job_manifest(make_attempt(recipe, traceparents={"build": "00-1", "test": "00-2"}), PodSettings())
    (arguments,), (traced_arguments,) = ([c["args"] for c in pod_of(job)["containers"]] for job in (plain, traced))
    assert arguments[-8:] == ["2", "A=b", "TRACEPARENT=of the recipe", "test", "92", "", "true", "0"]
    assert traced_arguments[-9:] == ["2", "A=b", "TRACEPARENT=00-1", "test", "92", "", "true", "1", "TRACEPARENT=00-2"]
    pod_of(plain)["containers"][0]["args"] = traced_arguments
    assert plain == traced


def test_the_written_plan_keeps_its_form_and_plans_of_older_versions_are_read() -> None:
    """Running Jobs of the version before an upgrade are recognized by the digest of this text."""
    written = (
        '{"timeout":90.5,"stages":[{"credentials":false,"steps":[{"name":"build","status":"compiling","timeout":"10m",'
        '"retry":{"exitCodes":[9],"output":["a|b"]}}]}]}'
    )
    recipe = make_recipe({**BUILD, "retry": RETRY})
    assert Plan.of(recipe, 90.5).written() == written
    older = written.replace("a|b", "(?=a)b")  # which recipes may no longer say
    older = older.replace('"credentials":false,', "")
    plan = Plan.read({"metadata": {"name": "x", "annotations": {PLAN: older}}}, "")
    assert plan.written() == older
    assert [stage.credentials for stage in plan.stages] == [True], "it says nothing about credentials"


@pytest.mark.parametrize("annotations", [None, {}, {PLAN: "{"}, {PLAN: '{"timeout":1,"stages":[]}'}])
def test_a_job_without_a_plan_is_refused(annotations: Body | None) -> None:
    with pytest.raises(InfrastructureError, match="of Job x is unreadable"):
        Plan.read({"metadata": {"name": "x", "annotations": annotations}}, "uid-7")


def test_a_changed_plan_is_refused() -> None:
    recipe = make_recipe(BUILD, PUSH)
    job = job_manifest(make_attempt(recipe), PodSettings())
    job["metadata"]["annotations"][PLAN] = job["metadata"]["annotations"][PLAN].replace("90.5", "90.6")
    assert Plan.read(job, "uid-7").timeout == 90.6
    with pytest.raises(InfrastructureError, match="was changed, so its steps are unknown"):
        Plan.read(job, Plan.of(recipe, 90.5).digest)


@pytest.mark.parametrize(
    "job", [job_manifest(make_attempt(make_recipe(BUILD, PUSH)), PodSettings()), tombstone(make_adoption())]
)
def test_the_restricted_pod_security_standard_admits_it(job: Body) -> None:
    pod = pod_of(job)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
    assert all({"emptyDir", "secret"} & volume.keys() for volume in pod.get("volumes", ()))
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "ports" not in container


def test_only_stages_that_declare_credentials_see_the_secret() -> None:
    credentials = GitCredentials(HttpsLogin("bob", "hunter22"))
    attempt = make_attempt(make_recipe(BUILD, PUSH), credentials_secret="git-login", credentials=credentials)
    job = job_manifest(attempt, PodSettings())
    pod = pod_of(job)
    assert "hunter22" not in json.dumps(job)
    assert "hunter22" not in repr(attempt)
    assert {"name": "git", "secret": {"secretName": "git-login", "defaultMode": 0o440}} in pod["volumes"]
    (build,), (push,) = pod["initContainers"], pod["containers"]
    assert [mount["name"] for mount in build["volumeMounts"]] == ["work"]
    assert [mount["name"] for mount in push["volumeMounts"]] == ["work", "private", "fresh", "git"]
    assert "GIT_CONFIG_COUNT" not in variables(build)
    assert variables(push)["GIT_CONFIG_KEY_3"] == "credential.https://code.example.helper"
    assert "/dev/null" in variables(push)["GIT_SSH_COMMAND"]


@pytest.mark.parametrize("secret", [None, "git-login"])
def test_a_stage_with_credentials_has_volumes_that_no_other_stage_can_write_to(secret: str | None) -> None:
    again = {**BUILD, "name": "again"}
    attempt = make_attempt(make_recipe(BUILD, PUSH, again), credentials_secret=secret)
    pod = pod_of(job_manifest(attempt, PodSettings()))
    push = next(container for container in pod["initContainers"] if container["name"] == "push")
    others = [container for container in (*pod["initContainers"], *pod["containers"]) if container is not push]
    reached = [mount["mountPath"] for container in others for mount in container["volumeMounts"]]
    own = [mount["mountPath"] for mount in push["volumeMounts"] if mount["mountPath"] not in reached]
    places = {**variables(push), "scratch": kubelet(push["args"][4], {})}
    for place in ("HOME", "TMPDIR", "scratch"):
        assert any(places[place].startswith(f"{mount}/") for mount in own), place
    assert places["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert places["GIT_CONFIG_NOSYSTEM"] == "1"
    assert ("GIT_CONFIG_COUNT" in places) == (secret is not None)


def test_only_steps_without_credentials_get_the_logins_for_package_indexes() -> None:
    pod = pod_of(job_manifest(make_attempt(make_recipe(BUILD, PUSH)), PodSettings(index_secret="package-index")))
    (build,), (push,) = pod["initContainers"], pod["containers"]
    assert build["envFrom"] == [{"secretRef": {"name": "package-index", "optional": True}}]
    assert "envFrom" not in push


def test_the_container_spec() -> None:
    recipe = make_recipe(
        {**BUILD, "timeout": "1500ms", "env": {"A": "1", "B": "$(x)"}, "retry": {"output": ["(?i)ab"]}},
        {"name": "slow", "run": "sleep 1", "timeout": "10h"},
        resources={"limits": {"memory": "1Gi"}},
        workspaceSize="7Gi",
    )
    settings = PodSettings(
        environment={"LANG": "de_DE.UTF-8", "HTTPS_PROXY": "http://proxy:3128", "ATTEMPT": "no"},
        node_selector={"disk": "fast"},
        tolerations=({"key": "builds", "operator": "Exists"},),
        priority_class="low",
        image_pull_secrets=("registry",),
    )
    pod = pod_of(job_manifest(make_attempt(recipe), settings))
    (container,) = pod["containers"]
    assert "initContainers" not in pod
    assert pod["volumes"] == [{"name": "work", "emptyDir": {"sizeLimit": "7Gi"}}]
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"disk": "fast"}, "low")
    assert pod["tolerations"] == [{"key": "builds", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert container["resources"] == {"requests": {}, "limits": {"memory": "1Gi"}}
    assert [kubelet(word, {}) for word in container["command"]] == ["sh", "-c", STAGE_SCRIPT, "stage"]
    words = [kubelet(word, {}) for word in container["args"]]
    assert words[:9] == ["4096", "2", "1", "10", "/setup/stage", "", "", "", ""]
    assert words[9:] == [
        *("build", "2", "([aA][bB])", "make $(nproc) $$ $HOME", "2", "A=1", "B=$(x)"),
        *("slow", "92", "", "sleep 1", "0"),
    ]
    environment = variables(container)
    assert environment["PROJECT_NAME"] == "Näme $(id) $$(HOME)"
    assert environment["PROJECT_DESCRIPTION"] == "two\nlines"
    places = {"WORKSPACE": "/setup/workspace", "HOME": "/setup/workspace/.home", "TMPDIR": "/setup/workspace/.tmp"}
    given = {"LANG": "de_DE.UTF-8", "ATTEMPT": "2", "PARAM_LICENSE": "MIT", "HTTPS_PROXY": "http://proxy:3128"}
    fixed = {"STEP_OUTPUTS": "/dev/termination-log", "GIT_ALLOW_PROTOCOL": "https:ssh"}
    assert (places | given | fixed).items() <= environment.items()
    assert "PATH" not in environment


def test_stages_share_the_termination_message_budget_of_the_pod() -> None:
    recipe = make_recipe(*({"name": f"s{number}", "isolate": True} for number in range(50)))
    pod = pod_of(job_manifest(make_attempt(recipe), PodSettings()))
    containers = [*pod["initContainers"], *pod["containers"]]
    assert len(containers) == 50
    assert all(int(container["args"][0]) * (50 + 2) <= 12_288 for container in containers)
    assert [container["args"][2] for container in containers] == [str(number) for number in range(1, 51)]
