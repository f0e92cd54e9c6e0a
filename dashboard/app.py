"""The analyst's dashboard: navigation, the run picker, and what every page carries.

python -m dashboard        or        streamlit run dashboard/app.py
"""

import sys
import time
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:  # streamlit puts only this file's folder on the path
    sys.path.insert(0, ROOT)

from dashboard import imports, loaders, login, models, widgets  # noqa: E402

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="168" height="32" viewBox="0 0 168 32">
<circle cx="14" cy="15" r="10" fill="none" stroke="#1A9189" stroke-width="3"/>
<path d="M21 22l7 7" stroke="#1A9189" stroke-width="4" stroke-linecap="round"/>
<circle cx="13" cy="14" r="4" fill="#B5653A"/><circle cx="17" cy="17" r="2.2" fill="#8A4526"/>
<text x="36" y="23" font-family="system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif" font-size="21"
 font-weight="650" fill="#1A9189">DermLens</text></svg>"""
PAGES = {
    "Look": [
        st.Page("views/overview.py", title="Overview", icon=":material/dashboard:", default=True),
        st.Page("views/dataset.py", title="Data set", icon=":material/database:"),
        st.Page("views/audit.py", title="Audit", icon=":material/fact_check:"),
        st.Page("views/training.py", title="Training", icon=":material/show_chart:"),
        st.Page("views/evaluation.py", title="Evaluation", icon=":material/grid_on:"),
    ],
    "Understand": [
        st.Page("views/gallery.py", title="Gallery", icon=":material/photo_library:"),
        st.Page("views/explain.py", title="Explain", icon=":material/center_focus_strong:"),
    ],
    "Do": [
        st.Page("views/cases.py", title="Cases", icon=":material/inventory_2:"),
        st.Page("views/retrain.py", title="Retrain", icon=":material/model_training:"),
    ],
}


def run_picker() -> None:
    """The sidebar's choice of a run; the served one at first, else the newest finished one."""
    cards = {card.run.id: card for card in loaders.run_cards()}
    if not cards:
        st.session_state[widgets.RUN_KEY] = None
        st.sidebar.caption("No run yet.")
        return
    started = st.session_state.pop(widgets.PICK_KEY, None)  # a training that was started just now
    now = started or st.session_state.get("chosen") or st.query_params.get("run")
    if now not in cards:
        if now:
            st.sidebar.warning(
                f"There is no run {now} here any more. Another one is shown.", icon=":material/link_off:"
            )
        now = next((name for name, card in cards.items() if card.served), next(iter(cards)))
    names = list(cards)
    labels = [cards[name].label for name in names]
    with st.sidebar:
        # the key changes with the labels: the browser would keep the text that was picked, "queued" for ever
        key = f"picker_{hash(tuple(labels))}"
        picked = st.selectbox("Run", names, names.index(now), lambda name: cards[name].label, key=key)
        card = cards[picked or now]
        with st.container(horizontal=True, gap="xsmall"):
            widgets.state_badge(card.state)
            if card.served:
                st.badge("served", icon=":material/podium:", color="primary", help="The clinician's page uses it.")
        st.caption(f"{card.name}  \n{card.created:%d %B %Y, %H:%M}  \n{card.run.id}")
    st.session_state["chosen"], st.session_state[widgets.RUN_KEY] = card.run.id, card.run
    if st.query_params.get("run") != card.run.id:
        st.query_params["run"] = card.run.id  # an address that is sent to somebody opens the same run
    if card.finished:
        models.warm_up(card.run)


def entered() -> bool:
    """Whether this visitor may see the pages; the form that asks, where not."""
    if login.logins() is None or st.session_state.get("entered"):
        return True
    with st.form("login", width=420):
        name, password = st.text_input("Name"), st.text_input("Password", type="password")
        asked = st.form_submit_button("Log in")
    if asked and login.may_enter(name.strip(), password):
        st.session_state["entered"] = True
        st.rerun()
    if asked:
        time.sleep(1)  # nobody tries thousands
        st.error("No such name, or another password.", icon=":material/lock:")
    return False


def main() -> None:
    """Draw the frame, then the chosen page."""
    st.set_page_config(
        page_title="DermLens",
        page_icon="🔬",
        layout="wide",
        initial_sidebar_state=310,
        menu_items={"About": "**DermLens** — what a skin-lesion classifier sees, and how far to trust it."},
    )
    st.logo(LOGO)
    page = st.navigation(PAGES)
    if not entered():
        widgets.notices(None)
        return
    run_picker()
    widgets.notices(widgets.chosen_run())
    with imports.page_of(light=not page.url_path):
        page.run()


main()
