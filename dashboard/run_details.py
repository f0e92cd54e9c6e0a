"""What people say of a run: its name and a note; and the way to get rid of it."""

import streamlit as st

from core.errors import DermLensError, RunBusyError
from core.runs.run import ABOUT
from dashboard import loaders
from dashboard.loaders import RunCard


def about(card: RunCard) -> None:
    """What people say of a run, and the way to get rid of it."""
    run = card.run
    with st.container(border=True):
        st.markdown(f"**{run.id}**")
        given = loaders.about(run)
        name = st.text_input("Name", given.get("name", ""), key=f"name_{run.id}", placeholder=card.name)
        note = st.text_area("Note", given.get("note", ""), key=f"note_{run.id}", height=80)
        with st.container(horizontal=True, gap="small"):
            if st.button("Save", icon=":material/save:", key="about_save"):
                run.write_json(ABOUT, {"name": name.strip(), "note": note.strip()})
                st.rerun()
            if card.served:
                st.caption("It is served: serve another run before it is deleted.")
            elif st.button("Delete this run…", icon=":material/delete:", key="about_delete"):
                delete(card)


@st.dialog("Delete this run?")
def delete(card: RunCard) -> None:
    """Ask, then delete."""
    st.markdown(f"**{card.label}** ({card.run.id}) is deleted with its model, its predictions and its figures. This "
                "cannot be undone.")  # fmt: skip
    if st.button("Delete it", type="primary", icon=":material/delete_forever:", key="delete_for_good"):
        try:
            if loaders.served_id() == card.run.id:  # since the question was asked
                raise RunBusyError("A run is not deleted while it is served. Serve another run first.")
            card.run.delete()
        except DermLensError as error:
            st.error(str(error), icon=":material/error:")
            return
        st.rerun()
