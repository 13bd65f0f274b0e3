"""Several processes: what is refused before any is started, and the command line that torchrun gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesson.config.schedule import world_size
from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.training import ranks
from lesson.training.ranks import MASTER_PORT, engine_command, refuse_impossible_ranks


def values(**given: str) -> Values:
    return Values({"PROFILE": "tiny", **given}, {})


def refuse(deepspeed: str | None = None, parallel: int = 1, **given: str) -> None:
    refuse_impossible_ranks(values(**given), {"sequence_parallel_size": parallel}, Path("my.py"), deepspeed)


def test_one_process_is_started_without_torchrun():
    command = engine_command(values(), ["train", "c.py"])
    assert command[1:] == ["-m", "lesson.training.engine", "train", "c.py"]
    assert world_size(values()) == 1


def test_several_processes_go_through_torchrun_with_every_variable_and_xtuner_s_launcher():
    given = {"NPROC_PER_NODE": "4", "NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "3000"}
    command = engine_command(values(**given), ["train", "c.py"])
    assert world_size(values(**given)) == 8
    assert command[1:3] == ["-m", "lesson.training.torchrun"]
    options = dict(zip(command[3:13:2], command[4:13:2], strict=True))
    assert options == {
        "--nnodes": "2",
        "--nproc-per-node": "4",
        "--node-rank": "1",
        "--master-addr": "10.0.0.1",
        "--master-port": "3000",
    }
    assert command[13:] == ["-m", "lesson.training.engine", "train", "c.py", "--launcher", "pytorch"]


def test_all_nodes_agree_on_a_port_and_one_machine_takes_a_free_one():
    def port(**given: str) -> str:
        command = engine_command(values(**given), [])
        return command[command.index("--master-port") + 1]

    two = {"NNODES": "2", "MASTER_ADDR": "a"}
    assert port(**two) == port(**two, NODE_RANK="1") == MASTER_PORT
    assert 1024 <= int(port(NPROC_PER_NODE="2")) <= 65535


def test_gloo_is_told_the_interface_towards_machine_0_unless_the_user_did(monkeypatch):
    """Else it takes the address that the machine's own name stands for, often 127.0.0.1."""
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    two = {"NNODES": "2", "NODE_RANK": "1"}
    assert ranks.host_environment(values(**two, MASTER_ADDR="127.0.0.1")) == {"GLOO_SOCKET_IFNAME": "lo"}
    assert ranks.host_environment(values(**two, MASTER_ADDR="nowhere.invalid")) == {}
    assert ranks.host_environment(values(NPROC_PER_NODE="2")) == {}
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert ranks.host_environment(values(**two, MASTER_ADDR="127.0.0.1")) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"NODE_RANK": "1"}, "at most 0"),
        ({"NNODES": "2", "NODE_RANK": "2", "MASTER_ADDR": "a"}, "at most 1"),
        ({"NNODES": "2"}, "MASTER_ADDR"),
    ],
)
def test_machines_that_could_not_find_each_other_are_refused(given, said):
    with pytest.raises(UserError, match=said):
        refuse(**given)


def test_more_processes_than_gpus_are_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(ranks, "count_gpus", lambda: 2)
    with pytest.raises(UserError, match=r"NPROC_PER_NODE=3.*2 GPUs"):
        refuse(PROFILE="7b", NPROC_PER_NODE="3")
    refuse(PROFILE="7b", NPROC_PER_NODE="2")
    refuse(NPROC_PER_NODE="3")  # tiny trains on the CPU


def test_sequence_parallel_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(ranks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="flash-attn"):
        refuse("deepspeed_zero2", 2, NPROC_PER_NODE="2")
    refuse("deepspeed_zero2", 1, NPROC_PER_NODE="2")
    monkeypatch.setattr(ranks, "find_spec", lambda name: object())
    refuse("deepspeed_zero2", 2, NPROC_PER_NODE="4")
    with pytest.raises(UserError, match="SPEED=stock"):
        refuse("deepspeed_zero2", 2, NPROC_PER_NODE="4", SPEED="fast")
    with pytest.raises(UserError, match="multiple of 2 processes, not 3"):
        refuse("deepspeed_zero2", 2, NPROC_PER_NODE="3")
    with pytest.raises(UserError, match="DeepSpeed"):
        refuse(None, 2, NPROC_PER_NODE="2")
