"""python -m dashboard.clinic [--host 127.0.0.1] [--port 7860] [--mcp]: serve the clinician's page until Ctrl-C."""

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading

import numpy as np

from core import predictor
from core.engines import add_option, use
from core.errors import DermLensError, command
from dashboard.__main__ import CLINIC_PORT, HOST, port_number, require_free_port
from dashboard.login import logins, require_login


def warm_up() -> None:
    """Load the served model and run it once, so that the first person does not wait for it."""
    try:
        predictor.served_predictor().predict(np.zeros((64, 64, 3), np.uint8))
    except DermLensError as error:  # the page says so to whoever comes
        logging.getLogger(__name__).info("No model to warm up: %s", error)


def serve(host: str, port: int, stop: threading.Event, mcp: bool = False) -> None:
    """Serve the page until somebody asks to stop."""
    from dashboard.clinic.app import build_page, launch

    page = build_page()
    address = launch(page, host, port, logins(), mcp)
    print(f"The clinician's page: {address}", flush=True)
    if mcp:
        print(f"Its tools for programs that speak MCP: {address}gradio_api/mcp/", flush=True)
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    stop.wait()
    page.close(verbose=False)


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.clinic", description="The clinician's page.")
    parser.add_argument("--host", default=os.environ.get("DERMLENS_HOST") or HOST, help="address to listen on")
    parser.add_argument(
        "--port",
        type=port_number,
        default=os.environ.get("DERMLENS_CLINIC_PORT") or str(CLINIC_PORT),
        help=f"port to listen on (DERMLENS_CLINIC_PORT; by default {CLINIC_PORT})",
    )
    parser.add_argument(
        "--mcp", action="store_true", help="offer predict, explain and batch as tools of an MCP server too"
    )
    add_option(parser)
    options = parser.parse_args(arguments)
    use(options.engine)
    require_login(options.host)
    require_free_port(options.host, options.port, "--port")

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # a folder that only we can read, and that goes with us: it holds people's images for a while
    with tempfile.TemporaryDirectory(prefix="dermlens-clinic-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        serve(options.host, options.port, stop, options.mcp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
