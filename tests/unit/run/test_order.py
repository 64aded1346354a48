from interlock.run.order import Operation, Order, decode, encode, kept_flags, withheld_variables, without_secrets


def order(*extra: str) -> Order:
    return Order(
        run="r1",
        operation=Operation.APPLY,
        directory="/module",
        state="s",
        who="me@here",
        home="/home",
        extra=extra,
    )


def test_an_order_is_read_as_it_was_written() -> None:
    assert decode(encode(order("-var", "a=1"))) == order("-var", "a=1")


def test_values_of_variables_are_masked_however_they_are_written() -> None:
    kept = without_secrets(order("-var", "password=hush", "-var=pin=hush", "--var", "token=hush"))
    assert kept.extra == ("-var", "password=(masked)", "-var=pin=(masked)", "--var", "token=(masked)")


def test_credentials_of_a_backend_are_masked_and_its_place_is_not() -> None:
    kept = without_secrets(order("-backend-config=secret_key=hush", "-backend-config", "bucket=states"))
    assert kept.extra == ("-backend-config=secret_key=(masked)", "-backend-config", "bucket=states")


def test_other_flags_stay_as_they_are() -> None:
    flags = ("-target=module.a", "-var-file=secret=1.tfvars", "-parallelism=3", "-refresh=false")
    assert without_secrets(order(*flags)).extra == flags


def test_of_masked_flags_nothing_is_left_also_where_they_were_two_words() -> None:
    masked = without_secrets(order("-var", "a=1", "-refresh=false", "-var=b=2", "-backend-config", "secret_key=hush"))
    assert kept_flags(masked.extra) == ("-refresh=false",)
    assert kept_flags(("-target", "module.a", "-var-file", "x.tfvars")) == (
        "-target",
        "module.a",
        "-var-file",
        "x.tfvars",
    )


def test_what_is_withheld_is_named_once_and_not_when_it_is_given_again() -> None:
    masked = without_secrets(order("-var", "a=1", "--var=b=2", "-var=a=3", "-backend-config=secret_key=hush")).extra
    assert withheld_variables(masked) == ("a", "b")
    assert withheld_variables(masked, ("-var", "b=4", "-target=a")) == ("a",)
