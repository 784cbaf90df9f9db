"""The download of quarterly zips from a server on this machine that fails in the ways of real ones."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from sec_zips import filing, number, write_zip

from finattn.config.sec import SecConfig
from finattn.data import sec
from finattn.data.sec.download import SITE
from finattn.errors import InputError

AGENT = "Ada Lovelace ada@lovelace.org"
ZIPS = "/dera/data/financial-statement-data-sets/"
TICKERS = json.dumps({"0": {"cik_str": 11, "ticker": "A", "title": "A"}}).encode()


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    of = filing(1, 11, "10-K", "2014-12-31", "2015-02-20 10:00:00")
    path = tmp_path_factory.mktemp("zip") / "2015q1.zip"
    return write_zip(path, [of], [number(of, "Assets", "2014-12-31", 0, 5)]).read_bytes()


@pytest.fixture
def server(content) -> Iterator[SimpleNamespace]:
    """Serve three quarters and the tickers; `answers` has, by path, what comes first: (status, headers, body)."""
    state = SimpleNamespace(answers={}, asked=[], agents=set(), files={"/company_tickers.json": TICKERS})
    state.files |= {f"{ZIPS}2015q{i}.zip": content for i in (1, 2, 3)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path.rpartition("/")[2])
            state.agents.add(self.headers["User-Agent"])
            waiting = state.answers.get(self.path.rpartition("/")[2], [])
            body = state.files.get(self.path)
            status, headers, body = waiting.pop(0) if waiting else (200 if body else 404, {}, body or b"none")
            if status is None:
                self.connection.close()
                return
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.site = f"http://127.0.0.1:{http.server_address[1]}/"
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def run(server, tmp_path):
    """Return a function that fetches into a folder, noting what is said and how long it would have waited."""

    def fetch(last: str | None = "2015Q3", **keys) -> sec.Fetched:
        config = SecConfig(str(tmp_path), AGENT, first="2015Q1", last=last)
        return sec.fetch(config, say=run.said.append, sleep=run.waits.append, site=server.site, **keys)

    run = SimpleNamespace(fetch=fetch, said=[], waits=[], folder=tmp_path, server=server)
    return run


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_quarters_and_tickers_come_whole_and_are_not_asked_for_again(run, content):
    assert run.fetch() == sec.Fetched(["2015Q1", "2015Q2", "2015Q3"])
    assert names(run.folder) == ["2015q1.zip", "2015q2.zip", "2015q3.zip", "company_tickers.json"]
    assert (run.folder / "2015q2.zip").read_bytes() == content
    assert run.server.agents == {AGENT}
    assert run.said[0] == f"2015q1.zip: {len(content)} bytes"
    asked = list(run.server.asked)
    assert run.fetch() == sec.Fetched([], ["2015Q1", "2015Q2", "2015Q3"]) and run.server.asked == asked
    assert sec.reports(SecConfig(str(run.folder), first="2015Q1"))["assets"].tolist() == [5]


def test_there_are_at_most_ten_requests_a_second(run):
    run.fetch()
    assert len(run.waits) == 4 and min(run.waits) >= 0.1


def test_what_is_there_in_part_is_downloaded_again(run, content):
    (run.folder / "2015q2.zip").write_bytes(content[:-100])
    assert run.fetch().downloaded == ["2015Q1", "2015Q2", "2015Q3"]
    assert (run.folder / "2015q2.zip").read_bytes() == content


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_not_replaced(run, put):
    put(run.folder / "2015q1.zip")
    with pytest.raises(InputError, match=r"2015q1\.zip must be a file, found something else"):
        run.fetch()
    assert names(run.folder) == ["2015q1.zip"] and not run.server.asked


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir])
def test_what_is_no_list_of_tickers_is_not_waited_for(run, put):
    put(run.folder / "company_tickers.json")
    with pytest.raises(InputError, match=r"company_tickers\.json must be the SEC's list of tickers, found something"):
        run.fetch()


@pytest.mark.parametrize("listed, found", [(b"", "found no readable JSON"), (b"{}", "have tickers, found none")])
def test_a_list_of_tickers_that_is_none_is_not_taken_for_one(run, listed, found):
    (run.folder / "company_tickers.json").write_bytes(listed)
    with pytest.raises(InputError, match=rf"company_tickers\.json must .*{found}: delete it to have today's"):
        run.fetch()


def test_a_list_of_tickers_that_is_there_is_kept(run):
    (run.folder / "company_tickers.json").write_bytes(TICKERS + b" ")
    run.fetch()
    assert (run.folder / "company_tickers.json").read_bytes() == TICKERS + b" "
    assert "company_tickers.json" not in run.server.asked


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_refusals_that_may_pass_are_tried_again_after_longer_and_longer_waits(run, status):
    run.server.answers["2015q1.zip"] = [(status, {}, b"slow down")] * 4
    assert run.fetch().downloaded[0] == "2015Q1"
    waits = [wait for wait in run.waits if wait > 0.2]
    assert len(waits) == 4 and all(0.5 * 2**i <= wait <= 1.5 * 2**i for i, wait in enumerate(waits))
    assert run.server.asked[:5] == ["2015q1.zip"] * 5
    assert run.said[0].startswith(f"2015q1.zip: status {status}; again in ")


def test_the_server_says_how_long_to_wait(run):
    run.server.answers["2015q1.zip"] = [(429, {"Retry-After": "37"}, b""), (429, {"Retry-After": "99999"}, b"")]
    run.fetch()
    assert [wait for wait in run.waits if wait > 1.5] == [37, 600]


def test_a_body_that_is_cut_short_and_a_broken_connection_are_tried_again(run, content):
    cut = (200, {"Content-Length": str(len(content))}, content[:50])
    run.server.answers["2015q1.zip"] = [cut, (None, {}, b"")]
    assert run.fetch().downloaded[0] == "2015Q1"
    assert f"50 of {len(content)} bytes" in run.said[0] and "a broken connection" in run.said[1]
    assert (run.folder / "2015q1.zip").read_bytes() == content


def test_what_fails_again_and_again_is_refused_and_leaves_nothing(run):
    run.server.answers["2015q2.zip"] = [(503, {}, b"")] * 99
    with pytest.raises(InputError, match=r"2015q2\.zip must be there to download, found status 503$"):
        run.fetch()
    assert names(run.folder) == ["2015q1.zip"] and run.server.asked.count("2015q2.zip") == 7
    run.server.answers.clear()
    assert run.fetch() == sec.Fetched(["2015Q2", "2015Q3"], ["2015Q1"])


def test_other_refusals_are_not_tried_again(run):
    run.server.answers["2015q1.zip"] = [(410, {}, b"")]
    with pytest.raises(InputError, match="2015q1.zip must be there to download, found status 410"):
        run.fetch()
    assert run.server.asked == ["2015q1.zip"]


def test_the_newest_quarter_may_not_be_published_yet(run):
    assert run.fetch(None, today=date(2015, 4, 1)).downloaded == ["2015Q1"]
    assert run.fetch(None, today=date(2016, 1, 2)).unpublished == ["2015Q4"]
    assert "2015Q4 is not published yet" in run.said
    assert run.fetch(None, today=date(2015, 12, 31)).present == ["2015Q1", "2015Q2", "2015Q3"]


def test_an_older_quarter_must_be_published(run):
    del run.server.files[f"{ZIPS}2015q2.zip"]
    with pytest.raises(InputError, match=r"2015Q2 must be published, found none at http.*2015q2\.zip \(404\)"):
        run.fetch()


@pytest.mark.parametrize("body", [b"<html>Undeclared Automated Tool</html>", b"PK"])
def test_a_page_in_place_of_a_zip_is_refused_and_leaves_nothing(run, body):
    run.server.answers["2015q1.zip"] = [(200, {}, body)]
    with pytest.raises(InputError, match=r"2015q1\.zip must lead to such a file.*: 2015q1\.zip: must be a zip archive"):
        run.fetch()
    assert names(run.folder) == []


def test_a_page_in_place_of_the_tickers_is_refused(run):
    run.server.answers["company_tickers.json"] = [(200, {}, b"<html>")]
    with pytest.raises(InputError, match="found another: company_tickers.json must be the SEC's list of tickers"):
        run.fetch()
    assert "company_tickers.json" not in names(run.folder)
    del run.server.files["/company_tickers.json"]
    with pytest.raises(InputError, match=r"the list of tickers must be at .*company_tickers.json, found none \(404\)"):
        run.fetch()


def test_a_file_without_end_is_refused(run, monkeypatch):
    monkeypatch.setattr("finattn.data.sec.download._LARGEST_ZIP", 100)
    with pytest.raises(InputError, match="2015q1.zip must have at most 100 bytes, found more"):
        run.fetch()
    assert names(run.folder) == []


def test_a_download_needs_a_folder_and_the_user_s_own_e_mail(tmp_path):
    with pytest.raises(InputError, match="data.sec.user_agent must be your name and own e-mail, to download"):
        sec.fetch(SecConfig(str(tmp_path)))
    with pytest.raises(InputError, match="data.sec.folder must be a folder, to download, found None"):
        sec.fetch(SecConfig(None, AGENT))
    assert SITE == "https://www.sec.gov/files/"
