"""The dashboard's entry script: navigation only. Streamlit runs it anew for every interaction."""

import streamlit as st

st.set_page_config(page_title="FASA Live", page_icon=":material/monitoring:", layout="wide")
pages = [
    st.Page("pages/runs.py", title="Runs", icon=":material/list:", default=True),
    st.Page("pages/live.py", title="Live run", icon=":material/show_chart:", url_path="run"),
]
st.navigation(pages, position="top").run()
