"""One at a time in a folder that whoever worked in it removes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from adabatch.data.locks import exclusive

THREADS, TIMES = 4, 300  # a lock belongs to a descriptor: threads exclude one another as processes do


def come_and_go(folder):
    """Work in the folder many times; what another did not remove, or put there meanwhile, is an error."""
    for _ in range(TIMES):
        with exclusive(folder):
            (folder / "mine").touch(exist_ok=False)
            (folder / "mine").unlink()
            folder.rmdir()


def test_one_at_a_time_though_each_removes_the_folder(tmp_path):
    with ThreadPoolExecutor(THREADS) as pool:
        for outcome in [pool.submit(come_and_go, tmp_path / "alone") for _ in range(THREADS)]:
            outcome.result()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_stays_keeps_what_is_in_it(tmp_path):
    for expected in ([], ["left"]):
        with exclusive(tmp_path / "alone"):
            assert [file.name for file in (tmp_path / "alone").iterdir()] == expected
            (tmp_path / "alone" / "left").touch()


def test_what_is_in_the_way_or_missing_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), exclusive(tmp_path / "file"):
        pass
    (tmp_path / "link").symlink_to("nothing")
    for path in (tmp_path / "no" / "folder", tmp_path / "link"):
        with pytest.raises(FileNotFoundError), exclusive(path):
            pass
