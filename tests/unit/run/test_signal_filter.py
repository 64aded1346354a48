"""The filter, run by a small interpreter of classic BPF: every architecture, also those that this machine is not."""

import struct

import pytest

from interlock.run.signal_filter import RT_SIGACTION, filter_program

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
PASS, SAY_DONE = 0x7FFF0000, 0x00050000
HUP, INT, KILL, TERM = 1, 2, 9, 15
A_POINTER = 0x7FFC_0000_1000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


def call(architecture: int, number: int, *arguments: int, byte_order: str = "little") -> int:
    """Return what the filter answers to one system call."""
    mark = {"little": "<", "big": ">"}[byte_order]
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack(f"{mark}iIQ6Q", number, architecture, 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", filter_program(byte_order)))
    at, value = 0, 0
    for _ in range(len(steps)):
        code, equal, other, operand = steps[at]
        at += 1
        if code == LOAD:
            (value,) = struct.unpack_from(f"{mark}I", data, operand)
        elif code == JUMP_IF_EQUAL:
            at += equal if value == operand else other
        else:
            assert code == RETURN
            return int(operand)
    raise AssertionError("the filter does not end")


@pytest.mark.promise("P9")
@pytest.mark.parametrize("architecture", RT_SIGACTION)
def test_a_program_of_any_architecture_is_told_that_it_has_taken_the_signals_and_has_not(architecture: int) -> None:
    for number in (HUP, TERM):
        assert call(architecture, RT_SIGACTION[architecture], number, A_POINTER, 0, 8) == SAY_DONE


@pytest.mark.promise("P9")
@pytest.mark.parametrize("architecture", RT_SIGACTION)
def test_our_own_signal_and_all_others_pass(architecture: int) -> None:
    for number in set(range(65)) - {HUP, TERM}:
        assert call(architecture, RT_SIGACTION[architecture], number, A_POINTER, 0, 8) == PASS


def test_who_only_asks_what_is_set_gets_the_truth() -> None:
    assert call(X86_64, RT_SIGACTION[X86_64], TERM, 0, A_POINTER, 8) == PASS


@pytest.mark.parametrize("pointer", [0x1000, 0x1_0000_0000])
def test_a_pointer_is_one_also_when_half_of_it_is_zero(pointer: int) -> None:
    assert call(X86_64, RT_SIGACTION[X86_64], TERM, pointer) == SAY_DONE


def test_other_system_calls_and_the_same_number_elsewhere_pass() -> None:
    for number in set(range(500)) - {RT_SIGACTION[AARCH64]}:
        assert call(AARCH64, number, TERM, A_POINTER) == PASS
    for unknown in (0xC000_00F3, 0x8000_0016, 0):  # RISC-V, s390x
        assert all(call(unknown, number, TERM, A_POINTER) == PASS for number in range(500))


def test_the_kernel_reads_only_the_low_half_of_a_signal_number_and_so_does_the_filter() -> None:
    assert call(X86_64, RT_SIGACTION[X86_64], TERM | 1 << 32, A_POINTER) == SAY_DONE


def test_a_big_endian_machine_has_its_halves_the_other_way_round() -> None:
    assert call(X86_64, RT_SIGACTION[X86_64], TERM, A_POINTER, byte_order="big") == SAY_DONE
    assert call(X86_64, RT_SIGACTION[X86_64], INT, A_POINTER, byte_order="big") == PASS
