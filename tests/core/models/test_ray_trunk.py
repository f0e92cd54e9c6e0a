"""On a cluster that loses workers, trunk outputs are those of this machine, byte for byte; ensembles learn there."""

import ast
import dataclasses
import shutil
import signal
import tempfile
from contextlib import suppress

import pandas as pd
import psutil
import pytest

import train
from core.config import TrainConfig
from core.data.ham10000 import load_dataset
from core.errors import ClusterError, ImageError, TrainingStopped
from core.models import cluster
from core.models.classifier import build_classifier
from core.models.spread import spread
from core.models.training import train as train_run
from core.models.trunk_cache import BATCH, TrunkCache
from core.places import PROJECT
from core.runs import run as files_of
from core.runs.run import Run

CONFIG = TrainConfig(backbone="mobilenetv3small", weights="none", train_from="head")
NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def two_machines():
    """A cluster of two nodes of one core on this machine: its address, and the processes of its nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a socket's path has at most 107 letters
        patch.setenv("RAY_TMPDIR", folder)
        import ray
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            nodes.add_node(**NODE)
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def images(tiny_data):
    """A data set and a table of its images with each of them several times over: 11 blocks."""
    dataset = load_dataset(tiny_data)
    return dataset, pd.concat([dataset.images] * 5, ignore_index=True)


@pytest.fixture(scope="module")
def trunk():
    return build_classifier(CONFIG).trunk


@pytest.fixture
def cache(trunk, tmp_path, monkeypatch):
    """Of a folder of its own, computed on a cluster or here."""

    def made(name, address=None):
        monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / name))
        monkeypatch.setenv(cluster.ENVIRONMENT, address or "")
        return TrunkCache(trunk, CONFIG)

    return made


def files(cache):
    return {path.name: path.read_bytes() for path in cache.folder.iterdir() if path.suffix in (".f32", ".partial")}


def busy_worker(nodes):
    """A process that computes a block just now, if there is one."""
    for node in nodes.list_all_nodes():
        for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "_outputs" in " ".join(process.cmdline()):
                    return process
    return None


def test_a_killed_worker_changes_no_byte(two_machines, images, cache):
    killed = []

    def kill(done, total, already):
        worker = busy_worker(two_machines) if done >= 2 * BATCH and not killed else None
        if worker:
            worker.kill()
            killed.append(worker)

    afar = cache("afar", two_machines.address)
    afar.outputs(*images, 1, kill)
    assert killed
    assert not killed[0].is_running()
    here = cache("here")
    here.outputs(*images, 1, lambda *_: None)
    assert files(afar) == files(here)
    assert here._trunk_hash == afar._trunk_hash


def test_a_stop_keeps_what_was_computed_for_whoever_goes_on(two_machines, images, cache):
    def stop(done, total, already):
        if done >= 3 * BATCH:
            raise TrainingStopped("enough")

    stopped = cache("stopped", two_machines.address)
    with pytest.raises(TrainingStopped):
        stopped.outputs(*images, 0, stop)
    steps = []
    goes_on = cache("stopped")
    goes_on.outputs(*images, 0, lambda *step: steps.append(step))
    assert steps[0][2] == 3 * BATCH
    here = cache("here")
    here.outputs(*images, 0, lambda *_: None)
    assert files(goes_on) == files(here)


def test_a_damaged_image_is_the_same_error_as_without(two_machines, images, cache, tmp_path):
    dataset, table = images
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff no picture")
    table = table.assign(path=table["path"].where(table.index != 40, str(bad)))
    said = []
    for name, address in (("afar", two_machines.address), ("here", None)):
        with pytest.raises(ImageError) as error:
            cache(name, address).outputs(dataset, table, 0, lambda *_: None)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "bad.jpg" in said[0]


def test_a_worker_with_other_versions_is_refused(two_machines, images, cache, monkeypatch):
    monkeypatch.setattr("core.models.ray_trunk.versions", lambda engine: ["tensorflow 1.0"])
    with pytest.raises(ClusterError, match="tensorflow 1.0"):
        cache("afar", two_machines.address).outputs(*images, 0, lambda *_: None)


def test_a_termination_still_asks_to_stop(two_machines, images, cache):
    """Ray takes SIGTERM for itself when it connects; a training that was stopped then said nothing."""

    def ask(*_):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, ask)
    try:
        import ray

        ray.shutdown()
        cluster.connect(two_machines.address)
        assert signal.getsignal(signal.SIGTERM) is ask
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_ray_the_option_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert train.main(["--dataset", "synthetic", "--ray", "auto"]) == 1
    assert "pip install -r requirements-ray.txt" in capsys.readouterr().err


def test_ray_is_loaded_by_whoever_asks_for_it_alone():
    for path in [*(PROJECT / "core").rglob("*.py"), PROJECT / "train.py"]:
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            assert "ray" not in {name.split(".")[0] for name in [*names, module or ""]}, path


def test_an_ensemble_is_trained_on_the_cluster(two_machines, tiny_config, runs_folder, monkeypatch):
    monkeypatch.setenv(cluster.ENVIRONMENT, two_machines.address)
    monkeypatch.setenv("DERMLENS_ENGINE", "tensorflow")  # no conversion
    run = Run.create(dataclasses.replace(tiny_config, epochs=1, views=1, ensemble=2), runs_folder / "pair")
    train_run(run)
    here, there = run.members()
    assert run.usable
    assert "[training] epoch 1" in there.log() and not here.log(), "the second one wrote its own log, on a worker"
    assert len(run.predictions()) == len(here.predictions())


def test_what_fails_on_the_cluster_has_its_reason(two_machines, tiny_config, runs_folder):
    run = Run.create(tiny_config, runs_folder / "gone")
    (run.folder / files_of.CONFIG).unlink()
    assert list(spread([run], two_machines.address)) == ["gone"]


def test_a_stopped_ensemble_stops_its_members_on_the_cluster(two_machines, tiny_config, runs_folder):
    def stop():
        raise TrainingStopped("Enough.")

    run = Run.create(dataclasses.replace(tiny_config, epochs=500), runs_folder / "long")
    with pytest.raises(TrainingStopped, match="Enough"):
        spread([run], two_machines.address, wait=stop)
    assert not run.usable
