"""The folder of a run: each has one of its own."""

from concurrent.futures import ThreadPoolExecutor

from lightning_modules.runs import claim_folder


def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim_folder(tmp_path, "same/name"), range(24)))
    assert sorted(int(f.name.split("_")[1]) for f in folders) == list(range(24))
