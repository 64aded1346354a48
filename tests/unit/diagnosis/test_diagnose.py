from datetime import UTC, datetime

import pytest

from interlock.diagnosis import Category, Cause, Retry, classify, diagnose, error_of, read_text
from interlock.diagnosis.causes import RULES
from interlock.diagnosis.message import Kind, Message
from interlock.errors import (
    AuthenticationFailed,
    BackendUnavailable,
    BudgetExhausted,
    DependencyRejected,
    Interrupted,
    LockHeld,
    PlanStale,
    StateInvalid,
    StateNotSaved,
    TerraformFailed,
    UsageError,
)
from interlock.terraform.events import Action as Did
from interlock.terraform.events import Apply, Diagnostic, Resource, Severity, Stage

LOCKED = """Error: Error acquiring the state lock

Error message: operation error DynamoDB: PutItem, ConditionalCheckFailedException: The conditional request failed
Lock Info:
  ID:        9a1b0c3d-1111-2222-3333-444455556666
  Path:      b/k
  Operation: OperationTypeApply
  Who:       runner@here
  Version:   1.11.4
  Created:   2026-11-24 07:10:03.2 +0000 UTC
  Info:
"""


def categories(text: str) -> list[str]:
    return [cause.category.value for cause in diagnose(read_text(text)).causes]


def test_nothing_is_wrong_with_nothing() -> None:
    diagnosis = diagnose([])
    assert not diagnosis.failed
    assert diagnosis.causes == ()


def test_the_same_again_is_counted_not_repeated() -> None:
    diagnosis = diagnose(read_text("Error: API Error: 429 - slow\n\n" * 5000))
    assert [(cause.category, cause.count) for cause in diagnosis.causes] == [(Category.API_RATE_LIMIT, 5000)]


def test_a_dynamodb_throttle_is_never_an_api_rate_limit() -> None:
    throttled = (
        "Error: Error acquiring the state lock\n\nError message: operation error DynamoDB: PutItem, "
        "StatusCode: 429, TooManyRequests, ThrottlingException: Rate exceeded\n"
    )
    assert categories(throttled) == ["backend-throttled"]


def test_an_unknown_error_is_a_failure_without_a_cause() -> None:
    diagnosis = diagnose(read_text("Error: the moon is in the wrong house\n"))
    assert diagnosis.failed
    assert diagnosis.causes == ()
    assert diagnosis.unknown[0][0].text == "Error: the moon is in the wrong house"


def test_a_later_success_overcomes_an_earlier_lock() -> None:
    assert categories(LOCKED + "\nApply complete! Resources: 1 added\n") == []


def test_a_plan_that_works_does_not_overcome_a_broken_apply() -> None:
    text = "x.y: Creating...\nError: API Error: 409 - in use by z\n\nNo changes. Your infrastructure matches.\n"
    assert categories(text) == ["api-dependency"]


def test_a_state_that_was_not_saved_is_not_overcome_by_the_next_apply() -> None:
    text = "Error: Failed to save state\n\nHTTP error: 500\n\nApply complete! Resources: 1 added\n"
    assert categories(text) == ["state-not-saved"]


def test_a_step_that_fails_after_a_success_without_a_reason_takes_the_earlier_cause_back() -> None:
    text = LOCKED + "\nNo changes. x\n##[error]Process completed with exit code 1.\n"
    assert categories(text) == ["lock-held"]


def test_consequences_come_after_their_cause_whatever_the_order_of_the_log() -> None:
    text = "Error: context canceled\n\nError: Plugin did not respond\n\nError: API Error: 500 - x\n"
    assert categories(text) == ["provider-crash", "api-server-error", "cancelled"]


def test_a_state_not_saved_comes_before_what_else_went_wrong() -> None:
    text = (
        "Error: API Error: 409 - in use by z\n\nError: Failed to save state\n\nError: Error releasing the state lock\n"
    )
    assert categories(text) == ["state-not-saved", "api-dependency", "lock-release-failed"]


TWICE = "Interrupt received.\nTwo interrupts received. Exiting immediately.\nError: operation canceled\n"


@pytest.mark.promise("P8")
def test_of_a_cut_off_terraform_only_what_neither_completed_nor_was_answered_is_in_flight() -> None:
    text = (
        "a.done: Creating...\na.old: Destroying... [id=1]\na.kept: Modifying... [id=2]\na.bad: Creating...\n"
        'module.m["k.x"].a.slow: Creating...\na.slow (deposed object 1a2b): Destroying... [id=3]\n'
        "a.done: Creation complete after 1s [id=9]\na.old: Destruction complete after 0s\n"
        "a.kept: Modifications complete after 1s [id=2]\nError: API Error: 400 - no\n\n"
        "  with a.bad,\n  on main.tf line 1\n\n"
    )
    diagnosis = diagnose(read_text(text + TWICE))
    assert diagnosis.causes[0].category is Category.STATE_NOT_SAVED
    assert diagnosis.causes[0].facts.in_flight == ('module.m["k.x"].a.slow (create)', "a.slow (delete)")
    assert type(error_of(diagnosis)) is StateNotSaved


def test_two_signals_before_anything_was_changed_are_only_a_cancellation() -> None:
    assert categories(TWICE) == ["cancelled"]
    assert categories("x.y: Creating...\n\n$ terraform plan\n" + TWICE) == ["cancelled"]


def test_a_provider_that_calls_its_failure_a_cancelled_operation_is_not_terraform_that_was_cut_off() -> None:
    text = "x.y: Creating...\nError: creating queue: operation canceled\n\n  with x.y,\n  on main.tf line 1\n"
    assert categories(text) == ["cancelled"]


def test_a_provisioners_output_is_no_evidence_about_the_api() -> None:
    text = (
        "Error: local-exec provisioner error\n\nError running command: exit status 22. Output: 429 Too Many Requests\n"
    )
    assert categories(text) == ["config-error"]


def test_a_timeout_before_any_change_may_be_retried_and_after_one_only_with_a_new_plan() -> None:
    text = "Error: context deadline exceeded\n"
    assert diagnose(read_text(text)).causes[0].retry is Retry.SAFE
    assert diagnose(read_text("x.y: Creating...\n" + text)).causes[0].retry is Retry.AFTER_REPLAN


def test_a_lock_of_this_run_is_its_own() -> None:
    own = ["9a1b0c3d-1111-2222-3333-444455556666"]
    assert diagnose(read_text(LOCKED)).causes[0].category is Category.LOCK_HELD
    assert diagnose(read_text(LOCKED), own_locks=own).causes[0].category is Category.LOCK_OWN_LOST_RESPONSE


HTTP = """Error: Error acquiring the state lock

Error message: HTTP remote state already locked: ID=6b0f3d4e-2c63-0c0a-98f1-1a2b3c4d5e6f
Lock Info:
  ID:        6b0f3d4e-2c63-0c0a-98f1-1a2b3c4d5e6f
  Path:
  Operation: OperationTypeApply
  Who:       runner@fv-az1024-77
  Version:   1.11.4
  Created:   2026-11-24 07:10:00.5 +0000 UTC
  Info:
"""


def test_equal_ids_prove_an_own_lock_only_from_a_terraform_that_prints_its_own() -> None:
    locked = list(read_text(HTTP))
    for version, category in (
        ("terraform 1.11.4", Category.LOCK_OWN_LOST_RESPONSE),
        ("terraform 1.15.5", Category.LOCK_HELD),
        ("tofu 1.15.5", Category.LOCK_OWN_LOST_RESPONSE),
    ):
        assert diagnose([told(Kind.VERSION, version, minute=1), *locked]).causes[0].category is category
    assert diagnose([told(Kind.COMMAND, "apply", minute=30), *locked]).causes[0].category is Category.LOCK_HELD


def test_the_version_is_read_from_what_terraform_version_prints() -> None:
    assert categories("$ terraform version\nTerraform v1.15.5\non linux_amd64\n" + HTTP) == ["lock-held"]
    assert categories("$ terraform version\nTerraform v1.14.0\non linux_amd64\n" + HTTP) == ["lock-own-lost-response"]


def told(kind: Kind, text: str, *, minute: int) -> Message:
    return Message(kind=kind, text=text, at=datetime(2026, 11, 24, 7, minute, tzinfo=UTC))


def test_a_lock_made_on_this_machine_after_this_command_began_is_its_own() -> None:
    locked = list(read_text(LOCKED))
    here, elsewhere = told(Kind.HOST, "here", minute=1), told(Kind.HOST, "there", minute=1)
    began, later = told(Kind.COMMAND, "apply", minute=10), told(Kind.COMMAND, "apply", minute=11)
    assert diagnose([here, began, *locked]).causes[0].category is Category.LOCK_OWN_LOST_RESPONSE
    assert diagnose([elsewhere, began, *locked]).causes[0].category is Category.LOCK_HELD
    assert diagnose([here, later, *locked]).causes[0].category is Category.LOCK_HELD
    assert diagnose([here, *locked]).causes[0].category is Category.LOCK_HELD


@pytest.mark.parametrize(
    ("summary", "detail", "typed"),
    [
        ("Module not installed", "", "tofu init "),
        ("Required plugins are not installed", "does not match any of the checksums", "tofu providers lock"),
        (
            "Failed to query available provider packages",
            "no available releases match the given constraints",
            "tofu providers ",
        ),
        ("Unsupported argument", "", "tofu validate"),
    ],
)
def test_what_is_typed_next_is_a_command_of_the_program_that_spoke(summary: str, detail: str, typed: str) -> None:
    said = [Diagnostic(severity=Severity.ERROR, summary=summary, detail=detail)]
    assert typed in (classify(said, tool="tofu").fix or "")
    assert typed.replace("tofu", "terraform") in (classify(said, tool="terraform").fix or "")
    assert typed.replace("tofu", "terraform") in (classify(said).fix or "")


def failed(summary: str, detail: str = "", address: str = "") -> type[Exception]:
    return type(classify([Diagnostic(severity=Severity.ERROR, summary=summary, detail=detail, address=address)]))


def test_each_family_of_causes_ends_a_run_with_its_own_class() -> None:
    assert failed("Error acquiring the state lock", "PreconditionFailed") is LockHeld
    assert failed("Error acquiring the state lock", "SlowDown") is BackendUnavailable
    assert failed("Error releasing the state lock") is BackendUnavailable
    assert failed("Error refreshing state: AccessDenied") is AuthenticationFailed
    assert failed("Unsupported state file format") is StateInvalid
    assert failed("Failed to save state") is StateNotSaved
    assert failed("Saved plan is stale") is PlanStale
    assert failed("x", "API Error: 429 - y", "a.b") is BudgetExhausted
    assert failed("x", "API Error: 401 - y", "a.b") is AuthenticationFailed
    assert failed("x", "API Error: 403 - y", "a.b") is AuthenticationFailed
    assert failed("x", "API Error: 409 - y", "a.b") is DependencyRejected
    assert failed("execution halted") is Interrupted
    assert failed("Unsupported argument") is UsageError
    assert failed("something else") is TerraformFailed


def test_a_mistake_in_the_configuration_that_shows_only_during_the_apply_is_not_called_harmless() -> None:
    begun = Apply(stage=Stage.START, resource=Resource(address="a.b"), action=Did.CREATE)
    error = classify([begun, Diagnostic(severity=Severity.ERROR, summary="Invalid function argument")])
    assert type(error) is TerraformFailed


def test_the_error_of_a_run_carries_what_the_log_names() -> None:
    error = classify(
        "Error: Failed to create x error: API Error: 403 - You must have at least one of the following permissions "
        "assigned: [routing:queue:add] (5f0d2c1e-93a4-4b7f-8d7e-2f1a3b4c5d6e)\n\n  with genesyscloud_routing_queue.q,\n"
    )
    assert error.facts["permission"] == "routing:queue:add"
    assert error.facts["correlation_id"] == "5f0d2c1e-93a4-4b7f-8d7e-2f1a3b4c5d6e"
    assert error.facts["address"] == "genesyscloud_routing_queue.q"
    assert "routing:queue:add" in error.fix
    assert "genesyscloud_routing_queue.q" in error.what


def test_the_worst_consequence_decides_the_exit_status() -> None:
    error = classify("Interrupt received.\n\nError: execution halted\n\nError: Failed to save state\n")
    assert error.exit_status == 131
    assert error.facts["also"] == "cancelled"


def test_an_unknown_failure_is_terraforms_own_with_its_words() -> None:
    error = classify("Error: the moon is in the wrong house\n")
    assert (error.exit_status, error.why) == (34, "the moon is in the wrong house")
    assert classify("").exit_status == 34


def test_secrets_of_a_log_are_masked() -> None:
    error = classify(
        'Error: API Error: 401 - Authorization: Bearer abcdef123456 (x)\n\nclient_secret="hunter2hunter2" at '
        "https://u:hunter3hunter3@host/\n"
    )
    assert "abcdef123456" not in str(error)
    assert "hunter" not in str(error)


def box(*lines: str) -> str:
    return "\n".join(["╷", *(f"│ {line}" for line in lines), "╵", ""])


def first(text: str) -> Cause:
    return diagnose(read_text(text)).causes[0]


def resource(address: str) -> tuple[str, ...]:
    return ("", f"  with {address},", "  on main.tf line 1:", "")


@pytest.mark.promise("P8")
def test_an_excerpt_that_shows_a_request_which_changes_something_is_not_called_harmless() -> None:
    for text in (
        'Error: Failed to create user error: Post "https://api.example.net/api/v2/users": unexpected EOF',
        'Error: Delete "https://api.example.net/api/v2/users/1": connection reset by peer',
        "Error: waiting for completion: context deadline exceeded",
    ):
        assert first(box(text, *resource("genesyscloud_user.jo"))).retry is Retry.AFTER_REPLAN
    for text in (
        'Error: Failed to read user 1: Get "https://api.example.net/api/v2/users/1": unexpected EOF',
        'Error: Post "https://login.example.net/oauth/token": dial tcp: lookup login.example.net: no such host',
    ):
        assert first(box(text, *resource("data.genesyscloud_user.jo"))).retry is Retry.SAFE


def test_what_is_said_of_a_retry_and_what_is_advised_do_not_contradict_each_other() -> None:
    for sign in ("no such host", "context deadline exceeded", "unexpected EOF", "connection refused"):
        cause = first(f'$ terraform plan\nError: Get "https://api.example.net/x": {sign}\n')
        assert cause.retry is Retry.SAFE
        assert "make a new plan" not in cause.next


def test_a_name_that_does_not_resolve_is_no_timeout() -> None:
    cause = first('Error: Auth Error: Post "https://login.example.net/oauth/token": dial tcp: lookup x: no such host\n')
    assert cause.category is Category.NETWORK
    assert "GENESYSCLOUD_REGION" in cause.next
    assert "more time" not in cause.next


@pytest.mark.parametrize("status", ["400", "409"])
def test_an_object_that_exists_is_looked_for_in_older_states_and_then_brought_in(status: str) -> None:
    cause = first(
        box(
            f"Error: Failed to create queue Q error: API Error: {status} - A queue with this name already exists.",
            *resource("module.cc.genesyscloud_routing_queue.q"),
        )
    )
    assert (cause.category, cause.retry, cause.error) == (Category.API_EXISTS, Retry.NO, TerraformFailed)
    assert "interlock state history" in cause.next
    assert "interlock drift scan --unmanaged genesyscloud_routing_queue" in cause.next


REASONS = {
    "ExpiredToken: The provided token has expired": ("renew the credentials", "backend-auth"),
    "AccessDenied: is not authorized to perform: kms:GenerateDataKey": ("give the role", "backend-auth"),
    "HTTP error: 413": ("limit of one request", ""),
    "no space left on device": ("interlock state push errored.tfstate", "disk-full"),
    "StatusCode: 503, SlowDown": ("wait a minute", ""),
    "HTTP error: 409": ("somebody else has the lock", ""),
}


@pytest.mark.promise("P8")
@pytest.mark.parametrize("reason", REASONS)
def test_a_state_that_was_not_saved_comes_first_with_what_its_reason_asks_for(reason: str) -> None:
    text = box("Error: Failed to save state", "", f"Error saving state: failed to upload state: {reason}") + box(
        "Error: Failed to persist state to backend", "", "The error shown above has prevented Terraform from writing."
    )
    diagnosis = diagnose(read_text(text))
    advice, beside = REASONS[reason]
    assert diagnosis.causes[0].category is Category.STATE_NOT_SAVED
    assert advice in diagnosis.causes[0].next
    assert "keep errored.tfstate" in diagnosis.causes[0].next
    assert [cause.category.value for cause in diagnosis.causes[1:]] == ([beside] if beside else [])
    assert all(cause.is_reason and cause.retry is Retry.NO for cause in diagnosis.causes[1:])
    assert any(reason.split(":", maxsplit=1)[0] in line.text for cause in diagnosis.causes for line in cause.lines)


def test_a_refusal_without_a_lock_waits_for_nobody() -> None:
    cause = first(
        box(
            "Error: Error acquiring the state lock",
            "",
            "Error message: operation error S3: PutObject, StatusCode: 412, PreconditionFailed",
            "operation error S3: GetObject, https response error StatusCode: 404, NoSuchKey",
        )
    )
    assert "wait for the holder" not in cause.next
    assert "run again" in cause.next


LOCKED_ELSEWHERE = {
    "state blob is already locked": "az storage blob lease break",
    'writing "gs://b/p/default.tflock" failed: googleapi: Error 412: conditionNotMet': "gsutil rm",
    "the state is already locked by another terraform client": "kubectl get leases",
    "HTTP remote state already locked: ID=1": "interlock lock explain",
    "ConditionalCheckFailedException: The conditional request failed": "interlock lock explain",
    "resource temporarily unavailable": "interlock lock explain",
    "pq: Already locked for state creation: prod": "interlock lock explain",
}


@pytest.mark.parametrize("said", LOCKED_ELSEWHERE)
def test_the_advice_about_a_lock_fits_the_backend_of_the_log(said: str) -> None:
    cause = first(box("Error: Error acquiring the state lock", "", f"Error message: {said}"))
    assert cause.category is Category.LOCK_HELD
    assert LOCKED_ELSEWHERE[said] in cause.next


def test_a_backend_that_the_log_named_before_is_remembered() -> None:
    text = 'Successfully configured the backend "azurerm"! Terraform will use it.\n\nInterrupt received.\n'
    assert "az storage blob" in first(text).next


@pytest.mark.parametrize(
    "refusal",
    [
        'Plan Error\ncannot run "plan": pull request 12 is currently locked by "apply".\n',
        "**Plan Failed**: This project is currently locked by an unapplied plan from pull #41.\n",
        "**Apply Failed**: Pull request must be mergeable before running apply.\n",
        "Apply Failed: Pull request must be approved according to the project's approval rules before running apply.\n",
        "**Apply Error**\n```\nexit status 1\n```\n",
    ],
)
def test_a_refusal_of_atlantis_is_no_success(refusal: str) -> None:
    assert diagnose(read_text(refusal)).failed


def test_only_a_log_that_ends_well_says_that_nothing_went_wrong() -> None:
    for text, succeeded in (
        ("", False),
        ("npm test\n", False),
        ("$ terraform plan\n", False),
        ("$ terraform plan\nNo changes. x\n", True),
        ("$ terraform plan\nPlan: 1 to add\n$ terraform apply plan.bin\n", False),
        ("$ terraform plan\nPlan: 1 to add\nx.y: Creating...\n", False),
        ("Apply complete! Resources: 1 added\n$ terraform output -json\n{}\n", True),
        ("Terraform has been successfully initialized!\n", True),
        ("Terraform has been successfully initialized!\n" + "x\n" * 200, False),
        ("Terraform has been successfully initialized!\na.b: Refreshing state... [id=1]\n", False),
        ("Success! The configuration is valid.\n", True),
    ):
        diagnosis = diagnose(read_text(text))
        assert (diagnosis.failed, diagnosis.succeeded) == (False, succeeded), text


def test_an_error_inside_a_json_text_is_read() -> None:
    text = (
        '"message": "exit status 1\\n\\nError: Error acquiring the state lock\\n\\nstate blob is already locked\\n"\n'
    )
    assert categories(text) == ["lock-held"]


def test_a_sign_with_an_advice_of_its_own_has_a_meaning_of_its_own() -> None:
    for rule in RULES:
        for sign in rule.signs:
            assert not (sign.advice or sign.advice_before) or sign.meaning, sign.words.pattern


def test_credentials_are_those_of_the_provider_that_is_named() -> None:
    refused = "Error: operation error STS: GetCallerIdentity, ExpiredToken"
    assert "aws sts get-caller-identity" in first(box(refused, *resource("aws_iam_role.x"))).next
    assert "GENESYSCLOUD" not in first(box(refused, *resource('provider["registry.terraform.io/hashicorp/aws"]'))).next
    refused = "Error: API Error: 401 - Unauthorized"
    assert "GENESYSCLOUD" in first(box(refused, *resource("genesyscloud_user.x"))).next
