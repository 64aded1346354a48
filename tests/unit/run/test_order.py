from interlock.run.order import Operation, Order, decode, encode, without_secrets


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
