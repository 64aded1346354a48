"""The bucket, table, container or address of the backend does not exist."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import UsageError


def _is_backend(message: Message, _facts: Facts, _context: Context) -> bool:
    return is_about_backend(message)


def _advice(facts: Facts) -> str:
    if facts.backend in {"s3", ""}:
        return "interlock bootstrap aws    creates bucket and table; or correct the backend block (interlock lint)"
    return f"{_MAKE.get(facts.backend, 'create it once, by hand')}; or correct the backend block (interlock lint)"


_MAKE: Final = {
    "azurerm": "az storage container create --account-name ACCOUNT --name CONTAINER    creates the container",
    "gcs": "gcloud storage buckets create gs://BUCKET    creates the bucket",
    "cloud": "create the organisation or workspace in HCP Terraform",
    "remote": "create the organisation or workspace in HCP Terraform",
    "http": "the address is wrong, or on GitLab the token may not read this project (it answers 404 then)",
    "pg": "create the database",
}

RULE: Final = Rule(
    category=Category.BACKEND_MISSING,
    meaning="the place where the state should be kept does not exist",
    retry=Retry.NO,
    error=UsageError,
    signs=(
        Sign(
            words=words(
                r"NoSuchBucket",
                r"S3 bucket \S{1,300} does not exist",
                r"ResourceNotFoundException",
                r"resource not found",
                r"Requested resource not found",
                r"Cannot do operations on a non-existent table",
                r"ContainerNotFound",
                r"storage: bucket doesn't exist",
                r"bucket does not exist",
                r"The specified (?:bucket|container) does not exist",
                r"database \S{1,200} does not exist",
                r"Unexpected HTTP response code:? (?!5|429|401|403)\d",
                r"\b404\b",
                r"PermanentRedirect",
                r"AuthorizationHeaderMalformed",
                r"requested bucket from \S{1,40}, actual location",
                r"MovedPermanently",
                r"workspace \S{1,200} (?:doesn't|does not) exist",
                r"ValidationException: .{0,100}key element does not match",
                r"organization \S{1,100} .{0,60}not found",
                r"The specified resource does not exist",
                r"ResourceGroupNotFound",
                r"StorageAccountNotFound",
                r"bucket .{0,100}not found",
            )
        ),
    ),
    advice=_advice,
    proof=_is_backend,
)
