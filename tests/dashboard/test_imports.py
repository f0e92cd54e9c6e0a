"""Two visitors of a fresh server: loading scikit-learn in two threads at once once ended one of their pages."""

import subprocess
import sys

from core.places import PROJECT

VISITORS = """
import threading
import dashboard.models
from dashboard import imports

wrong, start = [], threading.Barrier(3)

def visit(light, *modules):
    start.wait()
    try:
        with imports.page_of(light):
            for name in modules:
                __import__(name)
    except BaseException as error:
        wrong.append(repr(error))

pages = [
    threading.Thread(target=visit, args=(False, "core.predictor")),
    threading.Thread(target=visit, args=(False, "dashboard.comparison_section")),
    threading.Thread(target=visit, args=(True, "dashboard.widgets")),
]
for page in pages:
    page.start()
for page in pages:
    page.join(60)
assert not wrong, wrong
assert not any(page.is_alive() for page in pages), "they wait for each other"
"""


def test_two_pages_of_a_fresh_server_load_their_modules():
    done = subprocess.run([sys.executable, "-c", VISITORS], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]


FIRST_PAGE = """
import sys
import dashboard.models, dashboard.widgets
from dashboard import imports
with imports.page_of(light=True):
    pass
assert not {"scipy.stats", "sklearn", "openvino", "tensorflow"} & set(sys.modules)
"""


def test_the_first_page_loads_neither_scipy_nor_a_network():
    done = subprocess.run([sys.executable, "-c", FIRST_PAGE], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
