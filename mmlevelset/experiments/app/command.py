"""Open a page in the browser: a classic solver or a shipped model on a photograph, step by step.

    python tools/app.py
    python tools/app.py --port 8000

The page is for this machine alone, and loads nothing from the network. It needs Gradio:
pip install "mmlevelset[app]". docs/app.md says more.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import choose_device, short_errors

LOCAL = "127.0.0.1"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "connect-src 'self' data: blob:; frame-ancestors 'self'; form-action 'self'; object-src 'none'"
)
"""The browser itself then loads nothing from other hosts."""


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--host", default=LOCAL, help="the address to listen on; 0.0.0.0: all [%(default)s]"
    )
    made.add_argument("--port", type=int, default=7860, help="the port [%(default)s]")
    made.add_argument(
        "--share",
        action="store_true",
        help="also make a public address, by a tunnel of Gradio's makers: anyone who has it can"
        " use this machine",
    )
    made.add_argument("--open", action="store_true", help="open the page in the default browser")
    made.add_argument("--device", choices=["cpu", "cuda"], help="the GPU, if there is one")
    made.add_argument(
        "--traceback", action="store_true", help="show the whole traceback of an error"
    )
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("app.py", arguments):
        if not 0 < arguments.port < 65536:
            raise InputError(f"--port must be from 1 to 65535, and was {arguments.port}")
        choose_device(arguments)
        with TemporaryDirectory(prefix="mmlevelset-app-") as folder:
            serve(arguments, folder)


def serve(arguments: argparse.Namespace, folder: str, wait: bool = True) -> Any:
    """Serve the page.

    Args:
        arguments: Those of :func:`parse`.
        folder: Takes uploaded files and results while the page is served.
        wait: Until the process is interrupted. Otherwise the page is served by a thread.

    Returns:
        The page, a ``gradio.Blocks``.

    Raises:
        InputError: Gradio is missing, or the port is taken.
    """
    # Gradio reads these when it is imported.
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder, HF_HUB_DISABLE_TELEMETRY="1"
    )
    try:
        import gradio
    except ImportError as error:
        raise InputError('the page needs Gradio: pip install "mmlevelset[app]"') from error
    from mmlevelset.experiments.app.page import CSS, FONTS, MONO, build
    from mmlevelset.experiments.app.photographs import MOST_BYTES

    page = build()
    middleware = [] if arguments.share else [_policy()]
    try:
        page.queue(max_size=16).launch(
            server_name=arguments.host,
            server_port=arguments.port,
            share=arguments.share,
            inbrowser=arguments.open,
            prevent_thread_lock=not wait,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            max_file_size=MOST_BYTES,
            state_session_capacity=16,
            theme=gradio.themes.Default(font=FONTS, font_mono=MONO),
            css=CSS,
            app_kwargs=dict(middleware=middleware, docs_url=None, redoc_url=None),
        )
    except OSError as error:
        raise InputError(
            f"the page cannot be served at {arguments.host}, port {arguments.port}: {error};"
            " give another --port"
        ) from error
    return page


def _policy() -> Any:
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware

    async def add_policy(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return Middleware(BaseHTTPMiddleware, dispatch=add_policy)


if __name__ == "__main__":
    main()
