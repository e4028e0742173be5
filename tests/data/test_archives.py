"""The archives of a data set: fetched where they are not whole, and believed by their checksum alone."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from vaelab import data
from vaelab.data import archives


def url_info(filename: str, content: bytes) -> SimpleNamespace:
    return SimpleNamespace(filename=filename, checksum=hashlib.sha256(content).hexdigest())


@pytest.fixture
def server(monkeypatch):
    """Serves `contents` by path; `asked` lists the paths that were asked for."""
    contents, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = contents.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,)).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{httpd.server_port}", contents=contents, asked=asked)
        httpd.shutdown()


def test_download_fetches_only_what_is_not_whole(server, tmp_path):
    contents = {"/a.gz": b"a" * 3_000_000, "/b.gz": b"b"}
    server.contents |= contents
    url_infos = {f"{server.url}{path}": url_info(path[1:], content) for path, content in contents.items()}
    (tmp_path / "a.gz").write_bytes(b"cut short")
    (tmp_path / "b.gz").write_bytes(b"b")
    archives.download(url_infos, tmp_path)
    assert server.asked == ["/a.gz"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.gz": contents["/a.gz"],
        "b.gz": b"b",
    }


def test_download_of_other_bytes_is_refused(server, tmp_path):
    server.contents["/a.gz"] = b"other"
    with pytest.raises(data.DataError, match=hashlib.sha256(b"other").hexdigest()):
        archives.download({f"{server.url}/a.gz": url_info("a.gz", b"a")}, tmp_path)


def test_download_that_is_not_there_is_refused(server, tmp_path):
    url = f"{server.url}/a.gz"
    with pytest.raises(data.DataError, match=rf"cannot download {url} \(404.*\): .*--manual_dir") as error:
        archives.download({url: url_info("a.gz", b"a")}, tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
