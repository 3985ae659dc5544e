import sys

import pytest

from mmlevelset.experiments.app.command import LOCAL, main, parse


def test_the_page_is_local_unless_asked():
    arguments = parse([])
    assert arguments.host == LOCAL == "127.0.0.1"
    assert arguments.share is False and arguments.open is False


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_ports(port, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--port", port])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        f"app.py: error: --port must be from 1 to 65535, and was {port}\n"
    )


def test_without_gradio(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        'app.py: error: the page needs Gradio: pip install "mmlevelset[app]"\n'
    )
